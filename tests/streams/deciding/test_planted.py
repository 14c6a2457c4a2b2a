"""Planted bugs: each must be caught by the test that holds the rule it breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.streams import test_rollout
from tests.streams.deciding import test_decider, test_guarding, test_judging, test_orders
from tests.streams.deciding.world import BANDIT, CANARY, World
from tests.streams.policies import test_contract
from tests.streams.strategies import test_strategies
from tidegate.streams import guardrails, rollout
from tidegate.streams.deciding import (
    alarms,
    amendment,
    checks,
    experiment,
    experiment_json,
    guarding,
    judging,
    orders,
)
from tidegate.streams.deciding.decider import Decider
from tidegate.streams.deciding.memory import SeenIds
from tidegate.streams.deciding.records import Journal
from tidegate.streams.deciding.sequences import Reading, Sequences
from tidegate.streams.policies import PolicySettings, shares, thompson
from tidegate.streams.rollout import Phase, Signal
from tidegate.streams.strategies import bandit as bandit_strategy
from tidegate.streams.strategies import canary as canary_strategy
from tidegate.streams.strategies.base import Verdict

Plant = Callable[[pytest.MonkeyPatch], None]


def canary() -> World:
    """What the tests' fixtures give."""
    world = World()
    world.apply({"canary": CANARY}, {"full": {"keep_previous": "60s"}})
    return world


def three() -> World:
    """A bandit over two candidates."""
    world = World()
    world.apply({"bandit": BANDIT}, candidates=("blue", "green"))
    return world


def evidence_by_log_time(patch: pytest.MonkeyPatch) -> None:
    """Steps are judged by the decider's own time, also while joiners are down."""
    advance = Decider.advance

    def judged(self: Decider, log_time_ms: int) -> None:
        advance(self, log_time_ms)
        for state in self.experiments.values():
            proposal = judging.step(state, judging.Sight(log_time_ms, log_time_ms))
            if proposal is not None:
                self._decide(state, proposal)

    patch.setattr(Decider, "advance", judged)


def watermark_of_the_fastest(patch: pytest.MonkeyPatch) -> None:
    """One joiner's word is taken for all."""

    def accept(self: Sequences, source: int, log_time_ms: int) -> bool:
        self.expected[source] += 1
        rose = log_time_ms > self.watermark_ms
        self.watermark_ms = max(self.watermark_ms, log_time_ms)
        return rose

    patch.setattr(Sequences, "accept", accept)


def sequence_check_off(patch: pytest.MonkeyPatch) -> None:
    """Every batch counts, however often it comes."""
    patch.setattr(Sequences, "read", lambda self, source, sequence, at_ms: Reading.NEXT)


def rollback_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The share is withdrawn, but the variant may come back."""
    evolve = experiment.evolve
    patch.setattr(
        experiment,
        "evolve",
        lambda state, proposal, at_ms: evolve(state, replace(proposal, roll_back=""), at_ms),
    )


def no_data_is_success(patch: pytest.MonkeyPatch) -> None:
    """A step is passed although its guardrails have seen nothing."""
    patch.setattr(guarding, "without_data", lambda state: None)


def breach_waits_for_the_watermark(patch: pytest.MonkeyPatch) -> None:
    """Harm is acted upon only when every joiner has spoken."""
    judge = Decider._judge_guardrails

    def later(self: Decider, state: Any) -> None:
        if self.sequences.watermark_ms >= 0:
            judge(self, state)

    patch.setattr(Decider, "_judge_guardrails", later)


def ids_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A repeated order is carried out again."""
    patch.setattr(SeenIds, "__contains__", lambda self, name: False)


def any_generation(patch: pytest.MonkeyPatch) -> None:
    """Orders for another generation are carried out."""
    patch.setattr(orders, "fault_of", lambda order, generation, at_ms: "")


def statistics_mixed(patch: pytest.MonkeyPatch) -> None:
    """A change of what is measured keeps the generation."""
    patch.setattr(amendment, "_new_generation", lambda *given: "")


def chain_broken(patch: pytest.MonkeyPatch) -> None:
    """Decisions do not name the one before."""
    patch.setattr(experiment, "chain", lambda state, record: None)


def own_rollback_not_ordered(patch: pytest.MonkeyPatch) -> None:
    """Clients have to wait for the table."""
    patch.setattr(Journal, "own_rollback", lambda self, state, variant, reason, at_ms: None)


def silent_clients_count_as_confirmed(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told of a rollback that did not arrive."""
    patch.setattr(alarms, "unconfirmed_rollbacks", lambda *given: None)


def hold_lost_in_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """A field is missing in the dump."""
    plain = tuple(name for name in experiment_json._PLAIN if name not in ("held", "checked_ms"))
    patch.setattr(experiment_json, "_PLAIN", plain)


def old_evidence_passes_a_step(patch: pytest.MonkeyPatch) -> None:
    """What a guardrail saw in an earlier step passes this one."""

    withheld = guarding._withheld

    def ever(item: Any, ledger: Any, since: Any, where: str) -> Any:
        return withheld(item, ledger, (0, 0), where)

    patch.setattr(guarding, "_withheld", ever)


def told_again_and_again(patch: pytest.MonkeyPatch) -> None:
    """A breach that only tells is forgotten as soon as it was told."""
    react = guarding._react

    def forgetful(state: Any, item: Any) -> Any:
        state.told = []
        proposal = react(state, item)
        return proposal if len(state.ledger.tallies) and state.version < 9 else None

    patch.setattr(guarding, "_react", forgetful)


def an_unsure_check_ends_a_row(patch: pytest.MonkeyPatch) -> None:
    """Failed, unsure, failed are not two in a row."""
    take = checks.Check.take

    def forgiving(self: Any, verdict: Any, watermark_ms: int) -> None:
        take(self, verdict, watermark_ms)
        if verdict != "FAIL":
            self.consecutive = 0

    patch.setattr(checks.Check, "take", forgiving)


def missing_data_by_log_time(patch: pytest.MonkeyPatch) -> None:
    """Data is missing although the joiner has not come so far."""
    due = guarding.due
    patch.setattr(guarding, "due", lambda state, _: due(state, state.viewed_ms + 10**9))


def cap_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A canary gets what its list says, whatever its cap."""
    patch.setattr(canary_strategy, "min", lambda share_bp, *limits: share_bp, raising=False)


def floor_cut_and_scaled(patch: pytest.MonkeyPatch) -> None:
    """Raised to the floor and scaled to the whole again: below the floor."""

    def clipped(chances: Mapping[str, float], floor_bp: int) -> dict[str, int]:
        raised = {name: max(chance, floor_bp / 10_000) for name, chance in chances.items()}
        total = sum(raised.values())
        return shares.whole_parts({n: 10_000 * p / total for n, p in raised.items()}, 10_000)

    patch.setattr(thompson, "with_floor", clipped)


def no_largest_change(patch: pytest.MonkeyPatch) -> None:
    """A bandit goes all the way at once."""
    patch.setattr(thompson, "capped", lambda current, target, most_bp: dict(target))


def largest_change_unread(patch: pytest.MonkeyPatch) -> None:
    """The policy knows the rule, and nobody tells it what the manifest says."""
    patch.setattr(
        bandit_strategy,
        "PolicySettings",
        lambda max_change_bp, **others: PolicySettings(**others),
    )


def each_share_rounded(patch: pytest.MonkeyPatch) -> None:
    """Every share is rounded by itself: their sum is not the whole."""
    patch.setattr(
        shares, "whole_parts", lambda parts, _: {name: round(part) for name, part in parts.items()}
    )


def shares_not_whole(patch: pytest.MonkeyPatch) -> None:
    """The exact share, with its fraction."""
    patch.setattr(shares, "whole_parts", lambda parts, _: dict(parts))


def rollback_can_be_resumed(patch: pytest.MonkeyPatch) -> None:
    """A release that was rolled back goes on in its generation."""
    leaving = {**rollout.TRANSITIONS[Phase.ROLLED_BACK], Signal.RESUME: Phase.RUNNING}
    table = {**rollout.TRANSITIONS, Phase.ROLLED_BACK: leaving}
    patch.setattr(rollout, "TRANSITIONS", table)
    patch.setattr(test_rollout, "TRANSITIONS", table)


def illegal_signals_are_ignored(patch: pytest.MonkeyPatch) -> None:
    """What is not in the table leaves the phase as it is, in silence."""
    right = rollout.next_phase

    def lenient(phase: Phase, signal: Signal) -> Phase:
        return right(phase, signal) if rollout.is_legal(phase, signal) else phase

    patch.setattr(test_rollout, "next_phase", lenient)


def rollback_without_proof(patch: pytest.MonkeyPatch) -> None:
    """Any error at all rolls back."""
    read = guardrails.read

    def hasty(*case: Any) -> Any:
        found = read(*case)
        return replace(found, verdict=Verdict.FAIL) if found.n else found

    patch.setattr(guardrails, "may_fail", lambda *case: True)
    patch.setattr(guardrails, "read", hasty)


CAUGHT: list[tuple[Plant, Callable[[], object]]] = [
    (evidence_by_log_time, test_judging.test_time_without_a_joiner_passes_nothing),
    (watermark_of_the_fastest, test_judging.test_one_slow_joiner_of_two_holds_everything),
    (
        sequence_check_off,
        lambda: test_decider.test_batches_count_once_and_in_order(canary()),
    ),
    (
        rollback_forgotten,
        lambda: test_orders.test_rollback_gives_the_share_to_control(three()),
    ),
    (no_data_is_success, test_judging.test_a_guardrail_without_data_holds_the_step),
    (breach_waits_for_the_watermark, test_decider.test_a_breach_rolls_back_at_once),
    (ids_forgotten, lambda: test_orders.test_a_repeated_control_id_has_no_effect(canary())),
    (
        any_generation,
        lambda: test_orders.test_an_order_for_another_generation_is_refused(canary()),
    ),
    (
        statistics_mixed,
        lambda: test_orders.test_a_change_that_would_mix_statistics_opens_a_generation(
            canary(), {"salt": "again"}, "salt"
        ),
    ),
    (chain_broken, lambda: test_decider.test_decisions_are_chained_and_dense(canary())),
    (
        own_rollback_not_ordered,
        lambda: test_decider.test_an_own_rollback_is_ordered_on_control_too(canary()),
    ),
    (
        silent_clients_count_as_confirmed,
        lambda: test_decider.test_a_rollback_nobody_confirms_is_an_alarm(canary()),
    ),
    (old_evidence_passes_a_step, test_guarding.test_a_step_needs_evidence_of_its_own),
    (told_again_and_again, test_guarding.test_an_alert_is_told_once_and_the_release_goes_on),
    (an_unsure_check_ends_a_row, test_guarding.test_an_unsure_check_neither_counts_nor_ends_a_row),
    (missing_data_by_log_time, test_guarding.test_data_is_missing_by_watermarked_time_only),
    (
        cap_forgotten,
        lambda: test_strategies.test_canary_never_takes_more_than_its_cap_or_half("35%", 3_500),
    ),
    (floor_cut_and_scaled, lambda: test_contract.test_shares_are_sound("thompson")),
    (
        no_largest_change,
        lambda: test_contract.test_no_share_moves_further_than_allowed("thompson"),
    ),
    (
        largest_change_unread,
        test_judging.test_a_bandit_moves_no_share_further_than_its_manifest_says,
    ),
    (each_share_rounded, lambda: test_contract.test_shares_are_sound("thompson")),
    (shares_not_whole, lambda: test_contract.test_shares_are_sound("thompson")),
    (rollback_can_be_resumed, test_rollout.test_only_a_new_generation_leaves_rolled_back),
    (
        illegal_signals_are_ignored,
        lambda: test_rollout.test_every_pair_is_either_in_the_table_or_raises(
            Phase.ROLLED_BACK, Signal.RESUME
        ),
    ),
    (rollback_without_proof, test_judging.test_too_few_requests_fail_nothing),
    (hold_lost_in_checkpoint, test_judging.test_a_decider_that_starts_again_does_not_repeat_itself),
]


@pytest.mark.parametrize(("plant", "rule"), CAUGHT, ids=[plant.__name__ for plant, _ in CAUGHT])
def test_a_planted_bug_is_caught(
    plant: Plant, rule: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule holds as it is and fails with the bug."""
    rule()
    plant(monkeypatch)
    with pytest.raises((AssertionError, TypeError, ValueError, pytest.fail.Exception)):
        rule()
