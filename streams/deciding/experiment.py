"""The state of one experiment, explicit and JSON-able, and how a decision changes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tidegate.schemas.canonical import sha256_hex
from tidegate.schemas.events import BucketRange
from tidegate.schemas.manifest.spec import ExperimentSpec
from tidegate.streams.deciding.checks import Check
from tidegate.streams.deciding.deployment import Deployment
from tidegate.streams.deciding.judged import carry_over, judge_anew
from tidegate.streams.deciding.proposals import Proposal
from tidegate.streams.estimation import Ledger, plan_of
from tidegate.streams.estimation.strata import Key
from tidegate.streams.estimation.tally import set_aside
from tidegate.streams.guardrail_reading import Since
from tidegate.streams.rollout import Phase, next_phase
from tidegate.streams.routing import allocate
from tidegate.streams.strategies import STRATEGIES, Shares, Strategy
from tidegate.streams.strategies.base import ALL_BP

FLAG_STEP = -1
BEGINNING = (0, 0)


@dataclass(slots=True)
class Unconfirmed:
    """An automatic rollback that not every live client has confirmed yet."""

    variant: str
    generation: int
    epoch: int
    version: int
    decided_at_ms: int
    alerted: bool = False


@dataclass(slots=True)
class ExperimentState:
    """Everything the decider knows about an experiment.

    Weights and shadow shares are basis points. `since_ms` is the log time at which the running
    increment began, `checked_ms` the watermark of the last look at its evidence, `first_table`
    the (epoch, version) from which its requests are counted. `held` is what the last HOLD
    of this increment said, or that it waits for a person; `waits`, that the release has not
    started. `approvals` are the people, with their roles, who have approved the running step.
    `tables` are the (epoch, version) in `routing` that are not tombstoned, ascending.
    `judged_from` maps "guardrail index/candidate" to where its evidence begins, `checks` to its
    checks in this increment; `told` are the breaches of the increment that were only told.
    `closed` names the rings that a breach has closed in this generation.
    """

    name: str
    spec: ExperimentSpec
    epoch: int = 0
    version: int = 0
    generation: int = 0
    phase: Phase = Phase.IDLE
    step: int = FLAG_STEP
    increment: int = 0
    winner: str = ""
    since_ms: int = 0
    checked_ms: int = 0
    first_table: Key = BEGINNING
    held: str = ""
    approvals: list[list[str]] = field(default_factory=list)
    waits: bool = False
    weights: dict[str, int] = field(default_factory=dict)
    shadow: dict[str, int] = field(default_factory=dict)
    buckets: tuple[BucketRange, ...] = ()
    rolled_back: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    judged_from: dict[str, Since] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    tables: list[Key] = field(default_factory=list)
    published_at_ms: int = 0
    previous: str = ""
    unconfirmed: list[Unconfirmed] = field(default_factory=list)
    viewed_ms: int = 0
    is_view_due: bool = False
    deployment: Deployment = field(default_factory=Deployment)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(plan_of(self.name, self.generation, self.spec))

    @property
    def control(self) -> str:
        """The variant that serves whenever in doubt."""
        return self.spec.control

    @property
    def candidates(self) -> tuple[str, ...]:
        """Variants beside control that are not rolled back, sorted."""
        return tuple(name for name in self.spec.candidates if name not in self.rolled_back)

    @property
    def key(self) -> Key:
        """(epoch, version): orders everything a client sees."""
        return self.epoch, self.version

    def samples(self, variant: str) -> int:
        """Requests of a variant that tables of the running increment routed."""
        return self.ledger.learnt(variant, self.first_table)

    @property
    def decision_id(self) -> str:
        """Names the last decision."""
        return decision_id(self.name, self.epoch, self.version)

    @property
    def strategy(self) -> Strategy:
        """The strategy of the running step."""
        return strategy_at(self.spec, self.step)

    @property
    def settings(self) -> Any:
        """The settings of the running step."""
        return settings_at(self.spec, self.step)


def decision_id(experiment: str, epoch: int, version: int) -> str:
    """Names a decision, and the routing table it makes."""
    return f"{experiment}/{epoch}/{version}"


def strategy_at(spec: ExperimentSpec, step: int) -> Strategy:
    """The strategy of a step; `FLAG_STEP` is the flag's."""
    name = "flag" if step == FLAG_STEP else spec.release[step].strategy
    return STRATEGIES[name].as_set(settings_at(spec, step))


def settings_at(spec: ExperimentSpec, step: int) -> Any:
    """The settings of a step; `FLAG_STEP` is the flag's."""
    return spec.flag if step == FLAG_STEP else spec.release[step].settings


def shares_at(
    spec: ExperimentSpec, candidates: tuple[str, ...], winner: str, step: int, increment: int
) -> Shares | None:
    """The shares an increment of a step starts with, every variant named; None: they stay."""
    start = strategy_at(spec, step).start
    shares = start(settings_at(spec, step), spec.control, candidates, winner, increment)
    if shares is None:
        return None
    return Shares({**dict.fromkeys(spec.variants, 0), **shares.weights}, shares.shadow)


def all_to(variant: str) -> Shares:
    """Everything to one variant."""
    return Shares({variant: ALL_BP})


def evolve(state: ExperimentState, proposal: Proposal, log_time_ms: int) -> bool:
    """Applies a proposal: the version rises by one, and all else follows from the proposal.

    Returns whether the routing table changes.

    Raises:
        IllegalSignal: the phase does not allow it; the state is unchanged.
    """
    phase = next_phase(state.phase, proposal.signal) if proposal.signal else state.phase
    before = (state.weights, state.shadow, tuple(state.rolled_back), state.generation)
    phase_before, state.phase = state.phase, phase
    state.version += 1
    if proposal.spec is not None:
        _take_spec(state, proposal.spec, proposal.new_generation)
    if proposal.roll_back:
        state.rolled_back = sorted({*state.rolled_back, proposal.roll_back})
    if proposal.close_ring:
        state.closed = sorted({*state.closed, proposal.close_ring})
    _move(state, proposal, log_time_ms)
    state.deployment.follow(state, phase_before, proposal, log_time_ms)
    for guardrail, candidate in proposal.judged_anew:
        judge_anew(state, guardrail, candidate)
    after = (state.weights, state.shadow, tuple(state.rolled_back), state.generation)
    # The generation's first table and every table of an applied manifest go out as they are:
    # model versions, inclusion and salt stand in them too. Whatever begins is judged on what its
    # own tables routed, so it begins with a table although shares stay: without one it would
    # never have data.
    begins = state.first_table == state.key
    return before != after or bool(
        begins or proposal.spec or proposal.republish or proposal.close_ring
    )


def _take_spec(state: ExperimentState, spec: ExperimentSpec, new_generation: bool) -> None:
    before, state.spec = state.spec, spec
    if new_generation:
        state.generation += 1
        state.winner = ""
        state.rolled_back, state.closed = [], []
        state.judged_from, state.checks, state.told = {}, {}, []
        state.unconfirmed = []
        state.ledger = Ledger(plan_of(state.name, state.generation, spec))
    else:
        state.ledger.amend(plan_of(state.name, state.generation, spec))
        carry_over(state, before)


def _move(state: ExperimentState, proposal: Proposal, log_time_ms: int) -> None:
    entered = proposal.step is not None or proposal.increment is not None
    if proposal.step is not None:
        state.step, state.waits = proposal.step, proposal.waits
        if state.strategy.name == "shadow":  # judged on what is compared from now on
            state.ledger.shadows = set_aside(state.ledger.tallies, state.ledger.shadows)
    if proposal.increment is not None:
        state.increment = proposal.increment
    if proposal.winner is not None:
        state.winner = proposal.winner
    if proposal.shares is not None:
        named = dict.fromkeys(state.spec.variants, 0)
        state.weights = {**named, **proposal.shares.weights}
        state.shadow = dict(proposal.shares.shadow)
        state.buckets = allocate(state.weights, state.buckets)
    if entered:
        state.since_ms = log_time_ms
        state.checked_ms = 0
        state.first_table = state.key
        state.held = ""
        state.approvals = []
        state.checks, state.told = {}, []
    if proposal.told:
        state.told.append(proposal.told)
    if proposal.approval is not None:
        state.approvals.append(list(proposal.approval))
    if proposal.held is not None:
        state.held = proposal.held


def chain(state: ExperimentState, record: bytes) -> None:
    """Remembers the record of the decision, so that the next one can name it."""
    state.previous = sha256_hex(record)
