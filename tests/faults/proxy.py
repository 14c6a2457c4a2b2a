"""A wire that can be cut: a TCP proxy on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import Self

_CHUNK_BYTES = 65_536
_SIZE_BYTES = 4
"""Each request of Kafka's protocol begins with its length, then with what kind it is."""


class Proxy:
    """Forwards one port of loopback to another, in a thread of its own.

    Args:
        target: port behind it.
        source: loopback address it speaks from, by which a broker can tell who comes through it.
        by_request: Kafka's requests pass whole or not at all, which `swallow` needs.
    """

    def __init__(
        self, target: int, source: str = "127.0.0.1", *, by_request: bool = False
    ) -> None:
        self._target = target
        self._source = source
        self._incoming = _requests if by_request else _chunks
        self._swallowed: frozenset[int] = frozenset()
        self.swallowed = 0
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._started.wait(10)

    def cut(self) -> None:
        """Nothing gets through any more; connections stay, as behind a switch that lost power."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """What was held goes through, and everything after it."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def swallow(self, api_keys: Collection[int]) -> None:
        """Requests of these kinds get lost from now on, as at a broker that hangs over them.

        A connection that lost one carries no request any more: answers come in order.
        """
        self._swallowed = frozenset(api_keys)

    def reset(self) -> None:
        """End every connection at once; who sent does not know what arrived."""
        self._loop.call_soon_threadsafe(self._reset)

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._reset()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._whole.wait()
            onward_reader, onward = await asyncio.open_connection(
                "127.0.0.1", self._target, local_addr=(self._source, 0)
            )
            self._writers.add(onward)
            try:
                pipes = [
                    self._loop.create_task(self._pipe(self._let_through(reader), onward)),
                    self._loop.create_task(self._pipe(_chunks(onward_reader), writer)),
                ]
                self._tasks.update(pipes)
                await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
                for pipe in pipes:
                    pipe.cancel()
                self._tasks.difference_update(pipes)
            finally:
                self._writers.discard(onward)
                onward.transport.abort()
        except OSError:
            pass  # The broker behind is away; whoever came through here sees the connection end.
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _let_through(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        lost = False
        async for data in self._incoming(reader):
            if not lost and self._swallowed and _api_key(data) in self._swallowed:
                lost = True
                self.swallowed += 1
            if not lost:
                yield data

    async def _pipe(self, incoming: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            async for data in incoming:
                await self._whole.wait()
                writer.write(data)
                await writer.drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(_CHUNK_BYTES):
        yield data


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        size = await reader.readexactly(_SIZE_BYTES)
        yield size + await reader.readexactly(int.from_bytes(size, "big"))


def _api_key(request: bytes) -> int:
    return int.from_bytes(request[_SIZE_BYTES : _SIZE_BYTES + 2], "big")
