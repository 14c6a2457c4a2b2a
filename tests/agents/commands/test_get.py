"""One experiment on one screen, and the same as data."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from rich.text import Text

from tests.agents.commands.live import NAME, LiveDecider
from tests.agents.commands.recorded import run
from tests.streams.deciding.test_shadow_outcomes import CLOSED_MS, Loop, rows_of
from tests.streams.deciding.world import BANDIT, CANARY, START_MS, Group, World, spec_of
from tidegate.agents.commands import get
from tidegate.agents.commands.screen import screen
from tidegate.agents.kafka import Record, Tail
from tidegate.agents.settings import Settings

Captured = pytest.CaptureFixture[str]
FULL = {"full": {"keep_previous": "60s"}}
GOOD = (Group("champion", 5_000, 50), Group("challenger", 5_000, 51))
CLOSED = (
    Group("champion", 5_000, converted=500, closed=True),
    Group("challenger", 5_000, converted=900, closed=True),
)


def shown(world: World) -> str:
    """The screen of a decider's last view, as it is piped."""
    return Text("\n").join(screen(world.view(), world.log_time_ms)).plain


def running() -> World:
    """A canary with evidence and one client."""
    world = World()
    world.apply({"canary": CANARY}, {"bandit": BANDIT}, FULL)
    world.applied("a", version=1)
    world.applied("b", version=0, instance="web-2")
    world.observe(*GOOD)
    world.observe(*CLOSED)
    world.tick(2_000)
    return world


def test_the_screen_says_everything_on_few_lines() -> None:
    """Head, variants, guardrails, objective, counts, health, next, confirmations; aligned."""
    lines = shown(running()).splitlines()
    assert lines[0].startswith(f"{NAME}   g1   canary 10 %   step 1 of 3   held ")
    assert lines[0].endswith("RUNNING")
    assert lines[1].startswith("├─ champion    ranker v1    90.0 %  ██████████████████░░")
    assert "5,000 requests" in lines[2]
    assert lines[3].startswith("├─ guardrails  errors 1.0 % against 1.0 % in control")
    assert lines[4].startswith("├─ objective   conversion   +80.0 %  (")
    assert lines[4].endswith("better")
    assert lines[5] == "├─ counts      champion    5,000 closed + 0 open · 0 outcomes"
    assert lines[6].startswith("│              challenger  ")
    assert lines[7].startswith("├─ health      ")
    assert lines[8].startswith("├─ next        canary 30 % when ")
    assert lines[9].startswith("└─ applied     v1 by 1 of 2 clients within")
    assert lines[9].endswith("missing: web-2")


def test_several_candidates_are_told_apart() -> None:
    """Guardrails and effects name their candidate; every line keeps its rail."""
    world = World()
    world.order("APPLY", spec_of({"canary": CANARY}, candidates=("left", "right")))
    world.tick(2_000)
    lines = shown(world).splitlines()
    assert any("left: errors 0 of 200 requests" in line for line in lines)
    assert any(line.startswith("│              right: errors") for line in lines)


def test_before_anything_came_nothing_is_claimed() -> None:
    """No requests, no clients, no closed request: said so, and nothing divides by zero."""
    world = World()
    world.apply({"shadow": {"until": {"requests": 10}}}, FULL)
    world.tick(2_000)
    text = shown(world)
    assert "shadow   step 1 of 2" in text
    assert "no client is live" in text
    assert "waiting" in text or "no data" in text


def test_an_objective_without_effect_says_whose_requests_are_missing() -> None:
    """Control's closed requests alone compare nothing; the candidate's are what is waited for."""
    world = World()
    world.apply({"canary": CANARY}, {"bandit": BANDIT}, FULL)
    world.observe(*GOOD)
    world.observe(Group("champion", 5_000, converted=500, closed=True))
    world.tick(2_000)
    text = shown(world)
    assert "conversion   no closed request of challenger yet" in text
    assert "50.0 % of requests closed" in text


def test_health_names_the_process_and_the_variant_that_its_breaker_cut() -> None:
    """People look for a process by its name, and want to know what it does not serve."""
    world = running()
    world.applied("f" * 32, version=1, instance="web-7", health="DEGRADED", breaker=["challenger"])
    world.applied("e" * 32, version=1, instance="web-8", health="DEGRADED")
    world.tick(2_000)
    [health] = [line for line in shown(world).splitlines() if line.startswith("├─ health")]
    assert "breaker cut challenger in web-7 · degraded in web-8" in health
    assert "ffff" not in health


def test_a_rolled_back_variant_is_marked() -> None:
    """Phase and variant say it."""
    world = running()
    world.order("ROLLBACK")
    world.tick(2_000)
    text = shown(world)
    assert text.splitlines()[0].endswith("ROLLED_BACK")
    assert "rolled back" in text


def test_get_prints_the_screen_and_the_facts(embedded_settings: Settings, capsys: Captured) -> None:
    """As text, JSON and YAML; the list without a name has a line for it."""
    with LiveDecider(embedded_settings) as live:
        live.world = running()
        live.publish()
        text = run(embedded_settings, capsys, "get", NAME)
        facts = run(embedded_settings, capsys, "get", NAME, "-o", "json").json
        listed = run(embedded_settings, capsys, "get")
        rows = run(embedded_settings, capsys, "get", "-o", "json").json
    assert text.code == 0
    assert text.out.splitlines()[0].endswith("RUNNING")
    assert facts["weights"] == {"champion": 9_000, "challenger": 1_000}
    assert facts["view"]["log_time"] > START_MS
    assert facts["view"]["variants"][0]["counts"]["prediction"] == {
        "input": 5_000, "counted": 5_000, "pending": 0
    }  # fmt: skip
    assert facts["decision"]["action"] == "APPLY"
    assert listed.out.splitlines()[1].split()[0] == NAME
    assert rows[0]["phase"] == "RUNNING"


def test_without_a_decider_the_table_is_shown(
    embedded_settings: Settings, capsys: Captured
) -> None:
    """Clients go on with it, and so does the screen; the message says what to start."""
    with LiveDecider(embedded_settings) as live:
        live.world.apply({"canary": CANARY}, FULL)
        live.world.outputs[:] = [item for item in live.world.outputs if item.topic != "commands"]
        live.publish()
        answer = run(embedded_settings, capsys, "get", NAME)
    assert answer.code == 0
    assert "champion 90 %, challenger 10 %" in answer.out
    assert "The decider has not been heard lately" in answer.out


def test_nothing_yet_is_said_with_the_next_step(
    embedded_settings: Settings, capsys: Captured
) -> None:
    """An empty list is an answer; an unknown name is wrong use."""
    answer = run(embedded_settings, capsys, "get")
    assert answer.code == 0
    assert "tidegate apply -f FILE" in answer.out
    unknown = run(embedded_settings, capsys, "get", "nobody")
    assert unknown.code == 2
    assert "known: none yet" in unknown.err


def until_seen(live: LiveDecider, order: tuple[str, str], topics: set[str]) -> type[Tail]:
    """A person's order (action, reason) comes while one watches; stops when records of all
    `topics` were seen since."""
    action, reason = order
    seen: set[str] = set()

    class Watched(Tail):
        """Ends as Ctrl-C would."""

        def poll(self, seconds: float) -> list[Record]:
            if not seen:
                seen.add("begun")
                live.world.order(action, reason=reason)
                live.world.tick(2_000)
                live.publish()
            if topics <= seen:
                raise KeyboardInterrupt
            records = super().poll(seconds)
            seen.update(record.topic.rpartition(".")[2] for record in records)
            return records

    return Watched


def test_watch_shows_what_comes_until_it_is_stopped(
    embedded_settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view is replaced by newer ones, decisions are added below, each once."""
    with LiveDecider(embedded_settings) as live:
        live.world = running()
        live.publish()
        watched = until_seen(live, ("PAUSE", "lunch"), {"commands", "decisions"})
        monkeypatch.setattr(get, "Tail", watched)
        answer = run(embedded_settings, capsys, "watch", NAME)
    assert answer.code == 130
    last = answer.out.rsplit(f"{NAME}   g1", 1)[1]
    assert last.count("PAUSE ") == 1
    assert "lunch" in last


def test_programs_watch_objects_one_a_line_when_something_changes(
    embedded_settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands, then every change of view, table or decision; nothing is drawn or repeated."""
    with LiveDecider(embedded_settings) as live:
        live.world = running()
        live.publish()
        wanted = {"commands", "decisions", "routing"}
        watched = until_seen(live, ("ABORT", "wrong model"), wanted)
        monkeypatch.setattr(get, "Tail", watched)
        answer = run(embedded_settings, capsys, "get", NAME, "-w", "-o", "json")
    facts = [json.loads(line) for line in answer.out.splitlines()]
    assert answer.code == 130
    assert len(facts) > 1
    assert all(before != after for before, after in pairwise(facts))
    assert facts[0]["decision"]["action"] == "APPLY"
    last = facts[-1]
    assert (last["decision"]["action"], last["view"]["phase"]) == ("ABORT", "ABORTED")
    assert last["table"]["version"] == last["decision"]["version"]
    assert last["weights"] == {"champion": 10_000, "challenger": 0}


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_programs_watch_the_list_when_it_changes(
    embedded_settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """One array a line, and no line while nothing happens."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("tidegate.agents.commands.get.time.sleep", sleep)
    answer = run(embedded_settings, capsys, "get", "-w", "-o", output)
    assert (answer.code, answer.out) == (130, "[]\n")


def test_watching_all_repeats_the_list(
    embedded_settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`get -w` without a name shows the list again and again."""

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tidegate.agents.commands.get.time.sleep", stop)
    answer = run(embedded_settings, capsys, "get", "-w")
    assert answer.code == 130
    assert "No experiment on" in answer.out


def test_a_shadow_is_shown_with_what_came_of_its_requests() -> None:
    """Behind the disagreement, once requests have closed: how much larger its squared error is than
    that of the answers, with bounds where scores differed, and on how many requests."""
    rows = rows_of(1, shift=0.0)
    for unseen, said in (
        (rows[:, 1], r", squared error [+-]\S+ \(-\S+ to \+\S+\) on 600$"),
        (rows[:, 0], r", squared error \+0 on 600$"),
    ):
        loop = Loop(squared_error="<= 0")
        loop.send(np.stack([rows[:, 0], unseen, rows[:, 2]], axis=1))
        loop.at(5_000)
        lines = shown(loop.world).splitlines()
        assert "600 of 200 compared, 0 with what came of them" in lines[0]
        assert lines[2].endswith(" disagree")
        loop.at(CLOSED_MS)
        assert re.search(said, shown(loop.world).splitlines()[2]), shown(loop.world)
