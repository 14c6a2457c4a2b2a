"""The demo from start to end; exit code 0 only when every chapter was seen in the topics."""

from __future__ import annotations

import json
import time
from typing import Any

from tidegate.agents.commands.logs import event_in, view_in
from tidegate.agents.demo.models import EXPERIMENT
from tidegate.agents.demo.screen import Screen
from tidegate.agents.demo.stage import SERVERS, Stage
from tidegate.agents.demo.story import CHAPTERS, HASTY_SHADOW, PROMOTED, ROLLED_BACK, Story
from tidegate.agents.kafka import Record, Tail
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import TidegateError, Unreachable
from tidegate.schemas.events import Applied, Decision

_FOLLOWED = ("decisions", "applied", "commands")
_POLL_SECONDS = 0.2
_CHAPTER_SECONDS_MAX = 60.0
_SETTLE_SECONDS = 2.0


class Demo:
    """Goes through the story on a stage."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._seen_ids: set[str] = set()
        self._told = 0
        self._view: dict[str, Any] = {}
        self.story = Story(SERVERS)

    def play(self) -> None:
        """Everything, in order; returns early when a chapter does not come.

        Raises:
            DefinitionError: the broker cannot be started here.
            Unreachable: a process ended by itself; its log is quoted.
        """
        self._prepare()
        with Tail(self._stage.settings, _FOLLOWED) as tail:
            self._apply("hasty.yaml", "A challenger that was trained in a hurry.")
            if not self._follow(tail, ROLLED_BACK):
                return
            self._apply("careful.yaml", "Another one, trained with care, by the same release.")
            if not self._follow(tail, PROMOTED):
                return
            self._stage.end_traffic()
            self._listen(tail, time.monotonic() + _SETTLE_SECONDS)
        self._verify()

    def _prepare(self) -> None:
        say = self._screen.say
        broker = self._stage.start_broker()
        say(f"Broker: {broker.kind} at {broker.bootstrap}, with all topics.")
        self._stage.start_worker()
        self._stage.train()
        say("Models: three River classifiers of image segments, trained on 900 of 2,310.")
        ports = self._stage.start_serving()
        self._stage.await_worker()
        say("Worker: joiner, decider and ticker, each a process.")
        self._stage.start_traffic(ports)
        say(f"Serving: {SERVERS} processes with `client.predict`; a third one sends them images as")
        say("users do, and tells some time later what was on them.")

    def _apply(self, manifest: str, what: str) -> None:
        self._screen.say()
        self._screen.say(f"{what}\n$ tidegate apply -f {manifest}", "bold")
        done = self._stage.command("apply", "-f", manifest)
        if done.returncode:
            raise Unreachable(f"tidegate apply ended with {done.returncode}:\n{done.stderr}")

    def _verify(self) -> None:
        # An audit needs the logs and nothing that runs.
        self._stage.end_processes()
        self._screen.say()
        self._screen.say(
            "Everything but the broker is stopped; the logs are decided again.", "bold"
        )
        self._screen.say("$ tidegate verify", "bold")
        done = self._stage.command("verify", "-o", "json")
        said = said_of(json.loads(done.stdout)) if done.returncode == 0 else ""
        if not said:
            self._screen.say(done.stdout + done.stderr)
            return
        self.story.verified(said)
        self._tell_chapters()

    def _follow(self, tail: Tail, title: str) -> bool:
        """Follow the topics until a chapter is seen; False when one before it does not come."""
        deadline = time.monotonic() + _CHAPTER_SECONDS_MAX
        while not self.story.has(title):
            before = self._told
            self._listen(tail, time.monotonic() + _POLL_SECONDS)
            self._stage.check()
            if self._told > before:
                deadline = time.monotonic() + _CHAPTER_SECONDS_MAX
            if time.monotonic() > deadline:
                return False
        return True

    def _listen(self, tail: Tail, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            for record in tail.poll(left):
                self._take(record)
            self.story.served(self._stage.requests())
            self._tell_chapters()
            if self._view:
                self._screen.picture(self._view, self._stage.requests())

    def _take(self, record: Record) -> None:
        settings = self._stage.settings
        # Ticks are records without a value.
        if record.value is None:
            return
        if record.topic == settings.topic("decisions"):
            decision = event_in(Decision, record)
            # A worker that starts again writes the same decisions again.
            if decision is not None and decision.decision_id not in self._seen_ids:
                self._seen_ids.add(decision.decision_id)
                self._screen.decision(decision)
                self.story.decision(decision)
        elif record.topic == settings.topic("applied"):
            word = event_in(Applied, record)
            if word is not None:
                self.story.applied(word)
        elif record.key == EXPERIMENT.encode():
            self._view = dict(view_in(record) or self._view)

    def _tell_chapters(self) -> None:
        told = list(self.story.told.items())
        for number in range(self._told, len(told)):
            self._screen.chapter(number + 1, len(CHAPTERS), *told[number])
        self._told = len(told)


def run_demo(settings: Settings, choice: str) -> int:
    """Run the demo; 0 when every chapter was seen, 1 when not.

    Raises:
        DefinitionError: there is no such broker, or it cannot be started here.
        Unreachable: the broker does not answer.
    """
    began = time.monotonic()
    screen = Screen()
    stage = Stage(settings, choice)
    demo = Demo(stage, screen)
    error: TidegateError | None = None
    try:
        with screen:
            demo.play()
    except TidegateError as caught:
        if not demo.story.has(HASTY_SHADOW) and stage.is_bare:
            raise
        error = caught
    finally:
        missing = demo.story.missing
        stage.close(keep=bool(missing))
    screen.say()
    if error is not None:
        screen.say(str(error), "red")
    if missing:
        screen.say("The demo did not see everything. Missing:", "bold red")
        for title in missing:
            screen.say(f"  - {title}", "red")
        screen.say(f"Logs of its processes are in {stage.folder}.")
        return 1
    _close(screen, demo, time.monotonic() - began)
    return 0


def said_of(report: dict[str, Any]) -> str:
    """The audit's report in a sentence; empty when it did not find everything equal."""
    compared = report["compared"]
    parts = [
        f"{compared[name]['equal']:,} {name}"
        for name in ("observations", "decisions", "routing")
        if compared[name]["equal"] == compared[name]["recorded"] > 0
    ]
    if not report["equal"] or len(parts) < 3:
        return ""
    return f"from {report['records']:,} records, byte for byte: {', '.join(parts)}"


def _close(screen: Screen, demo: Demo, seconds: float) -> None:
    requests = demo.story.seen.requests.get("requests", 0)
    decisions = len(demo.story.seen.decisions)
    screen.say(
        f"Done in {seconds:.0f} s: {requests:,} requests, each answered by a model that a logged"
        f" decision chose; {decisions} decisions, each of them derived again from the logs.",
        "bold green",
    )
    screen.say("Try next:")
    screen.say("  tidegate demo --kafka local     the same on a real Apache Kafka (Java 17, Maven)")
    screen.say(
        "  tidegate up                     broker, topics and worker for an experiment of yours"
    )
    screen.say("  README.md                       how a service predicts, and what a manifest says")
