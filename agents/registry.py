"""A worker asks the Schema Registry what ids mean, beside its work, until it knows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol

from tidegate.agents.bindings import Binding, Recorded, bind
from tidegate.agents.failstop import FailStop, fail_stop
from tidegate.agents.registry_client import Unregistered, new_registry_client, schema_text
from tidegate.agents.settings import Settings
from tidegate.schemas.errors import Unreachable

_log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 30.0


class RegistryLike(Protocol):
    """What is used of `confluent_kafka.schema_registry.SchemaRegistryClient`."""

    def get_schema(self, schema_id: int) -> Any: ...


@dataclass(slots=True)
class _Question:
    """An id that is asked for, when to ask again, and what was answered last."""

    asking: Future[Mapping[int, Binding]] | None
    retry_at: float = 0.0
    pause_seconds: float = FIRST_RETRY_SECONDS
    answer: str = "asked"


class Registry:
    """Bindings of a worker: `bindings` grows while folds look at it.

    Questions are asked in a thread of their own; what came of them is adopted by `poll`, on the
    thread of the folds. `registry` None: ids can only be learned from the topic; `bindings` is
    None when nobody ever bound one there.

    Raises:
        DefinitionError: what is recorded contradicts itself.
        Unreachable: no broker answers.
    """

    def __init__(
        self,
        settings: Settings,
        registry: RegistryLike | None,
        fail: FailStop = fail_stop,
    ) -> None:
        self._recorded = Recorded(settings)
        self._registry = registry
        self._fail = fail
        self._questions: dict[int, _Question] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidegate-registry")
        self._known: dict[int, bytes] = {}
        self._adopt(self._recorded.refresh().values())
        if registry is not None:
            self._recorded.declare()
        self.bindings = self._known if self._recorded.declared else None

    def ask(self, schema_id: int) -> None:
        """Find out what an id means; asked again, slower and slower, until it is known."""
        if schema_id not in self._questions:
            asking = self._thread.submit(self._resolve, schema_id)
            self._questions[schema_id] = _Question(asking)

    def poll(self) -> None:
        """Adopt answers, ask again what is due. A contradiction ends the process."""
        for schema_id, question in list(self._questions.items()):
            if question.asking is None:
                if monotonic() >= question.retry_at:
                    question.asking = self._thread.submit(self._resolve, schema_id)
            elif question.asking.done():
                self._take(schema_id, question, question.asking)

    def knows(self, schema_id: int) -> bool:
        """Whether an id is bound by now."""
        return schema_id in self._known

    def answer(self, schema_id: int) -> str:
        """Why an id is not known yet, for people."""
        question = self._questions.get(schema_id)
        return question.answer if question is not None else "asked"

    def close(self) -> None:
        """Ask nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(
        self, schema_id: int, question: _Question, asked: Future[Mapping[int, Binding]]
    ) -> None:
        try:
            self._adopt(asked.result().values())
            del self._questions[schema_id]
        except (Unregistered, Unreachable) as error:
            question.asking = None
            question.answer = str(error)
            question.retry_at = monotonic() + question.pause_seconds
            question.pause_seconds = min(2 * question.pause_seconds, LAST_RETRY_SECONDS)
            _log.error("schema id %d is not known: %s", schema_id, error)
        except Exception as error:
            self._fail(f"schema id {schema_id} cannot be bound", error)

    def _adopt(self, found: Iterable[Binding]) -> None:
        for binding in found:
            self._known.setdefault(binding.schema_id, binding.fingerprint)

    def _resolve(self, schema_id: int) -> Mapping[int, Binding]:
        """All bindings, with this one; recorded, and read back, before anybody uses it."""
        found = self._recorded.refresh()
        if schema_id in found:
            return found
        if self._registry is None:
            raise Unregistered(
                "there is no binding on the topic `schemas` and no registry is set: "
                "schema_registry: url"
            )
        binding = bind(schema_id, schema_text(self._registry, schema_id))
        self._recorded.write(binding)
        if not binding.fingerprint:
            _log.error("schema id %d is no released schema: its records are dead letters",
                       schema_id)  # fmt: skip
        return self._recorded.refresh()


def open_registry(settings: Settings) -> Registry:
    """The bindings of a worker, with the registry of the settings if there is one.

    Raises:
        DefinitionError: its client is missing or refuses its settings, or bindings contradict.
        Unreachable: no broker answers. A registry that is away is waited for.
    """
    client = new_registry_client(settings) if settings.schema_registry else None
    return Registry(settings, client)
