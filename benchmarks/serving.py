"""A serving process with several clients: prints when each obeyed a rollback. A helper of others.

One line `READY`, then per client and rolled-back experiment `EXPERIMENT CLIENT SECONDS` (wall
clock); ends when its input ends.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from tidegate.agents.client import Client
from tidegate.agents.client.tables import InForce
from tidegate.agents.settings import load_settings

_READY_SECONDS_MAX = 30.0


def teller(client: int, lock: threading.Lock) -> Callable[[InForce], None]:
    """Prints what a client obeys, as soon as it does."""

    def tell(item: InForce) -> None:
        now = time.time()
        if item.rolled_back:
            with lock:
                print(item.experiment, client, f"{now:.6f}", flush=True)

    return tell


def main() -> None:
    """Serve until the input ends."""
    lock = threading.Lock()
    clients = [Client(settings=load_settings()) for _ in range(int(sys.argv[1]))]
    for number, client in enumerate(clients):
        client.on_change(teller(number, lock))
        if not client.wait_ready(_READY_SECONDS_MAX):
            sys.exit(f"client {number} did not get ready")
    print("READY", flush=True)
    sys.stdin.read()
    for client in clients:
        client.close(1)


if __name__ == "__main__":
    main()
