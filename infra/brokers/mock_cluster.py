"""librdkafka's mock cluster, driven through ctypes on the library inside confluent-kafka.

Run as a module it is a process of its own: it writes its bootstrap address on stdout, then obeys
one JSON request a line on stdin and answers each with one line. It ends when stdin does, so it
cannot outlive whoever started it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PRODUCER = 0
_TOPIC_ALREADY_EXISTS = 36
_PATTERNS = ("confluent_kafka.libs/librdkafka-*.so*", "confluent_kafka/.dylibs/librdkafka*.dylib")


class MockCluster:
    """A cluster in this process's memory; every method raises RuntimeError when refused."""

    def __init__(self, nodes: int) -> None:
        self._library = load_library()
        text = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", text, 512)
        handle = self._library.rd_kafka_new(_PRODUCER, configuration, text, 512)
        if not handle:
            raise RuntimeError(text.value.decode())
        self._cluster = self._library.rd_kafka_mock_cluster_new(handle, nodes)
        if not self._cluster:
            raise RuntimeError(f"librdkafka did not start a mock cluster of {nodes} nodes")
        self._nodes = nodes

    @property
    def bootstrap(self) -> str:
        """Addresses of all nodes, as clients want them."""
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def create(self, topics: Mapping[str, int]) -> None:
        """Create topics by number of partitions; those that exist are left alone."""
        for name, count in topics.items():
            code = self._library.rd_kafka_mock_topic_create(
                self._cluster, name.encode(), count, min(self._nodes, 3)
            )
            if code not in (0, _TOPIC_ALREADY_EXISTS):
                raise RuntimeError(f"topic {name}: error {code}")

    def down(self, node: int) -> None:
        """Close a node's connections and accept no new ones; its data stays."""
        self._obeyed(self._library.rd_kafka_mock_broker_set_down(self._cluster, node))

    def up(self, node: int) -> None:
        """Accept connections to a node again."""
        self._obeyed(self._library.rd_kafka_mock_broker_set_up(self._cluster, node))

    def delay(self, node: int, round_trip_ms: int) -> None:
        """Answer every request to a node after this time."""
        self._obeyed(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, node, round_trip_ms))

    def lead(self, topic: str, partition: int, node: int) -> None:
        """Move a partition's leader to a node."""
        self._obeyed(
            self._library.rd_kafka_mock_partition_set_leader(
                self._cluster, topic.encode(), partition, node
            )
        )

    def fail(self, api_key: int, codes: Sequence[int]) -> None:
        """Answer the next requests of an API with these error codes, one each."""
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, api_key, len(codes), (ctypes.c_int * len(codes))(*codes)
        )

    def _obeyed(self, code: int) -> None:
        if code:
            raise RuntimeError(f"the mock cluster refused with error {code}")


def load_library() -> Any:
    """The librdkafka that the installed confluent-kafka brings, with the types of what we call.

    Raises:
        RuntimeError: confluent-kafka is absent or was built without a library of its own.
    """
    found = importlib.util.find_spec("confluent_kafka")
    if found is None or found.origin is None:
        raise RuntimeError("confluent-kafka is not installed")
    folder = Path(found.origin).parent.parent
    paths = [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern))]
    if not paths:
        raise RuntimeError(
            "this confluent-kafka brings no librdkafka of its own: install it as a wheel, "
            "or use the broker `local`"
        )
    library = ctypes.CDLL(str(paths[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_rtt": (number, [pointer, ctypes.c_int32, number]),
        "rd_kafka_mock_partition_set_leader": (
            number,
            [pointer, text, ctypes.c_int32, ctypes.c_int32],
        ),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def serve(nodes: int) -> None:
    """Start a cluster, say where it is, and obey requests until stdin ends."""
    try:
        cluster = MockCluster(nodes)
    except (RuntimeError, OSError) as error:
        _say({"error": str(error)})
        return
    verbs: dict[str, Callable[..., None]] = {
        "create": cluster.create,
        "down": cluster.down,
        "up": cluster.up,
        "delay": cluster.delay,
        "lead": cluster.lead,
        "fail": cluster.fail,
    }
    _say({"bootstrap": cluster.bootstrap})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            verbs[request["verb"]](**request["arguments"])
        except (RuntimeError, KeyError, TypeError) as error:
            _say({"error": str(error)})
        else:
            _say({})


def _say(answer: Mapping[str, str]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
