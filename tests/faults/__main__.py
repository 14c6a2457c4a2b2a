"""`python -m tests.faults`: every fault in full; it prints one table and exits 1 when a row fails.

`python -m tests.faults NAME ... --times N` plays some of them; a name stands for all that begin so.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
from pathlib import Path

from tests.faults.rows import machine, table
from tests.faults.stage import Stage
from tests.faults.table import FAULTS


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults; all when none is given")
    parser.add_argument("--times", type=int, help="how often each; its own number otherwise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the faults and end")
    parser.add_argument("--keep", type=Path, help="folder to keep the logs of all processes in")
    given = parser.parse_args()
    chosen = [
        fault
        for name, fault in FAULTS.items()
        if not given.names or any(name.startswith(each) for each in given.names)
    ]
    if given.list or not chosen:
        sys.stdout.writelines(f"{each.name:24} {each.times:4}  {each.what}\n" for each in chosen)
        return 0 if chosen else 2
    # So that what was started ends here too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # What clients say while brokers are away is expected, and long.
    logging.getLogger("tidegate.kafka").setLevel(logging.CRITICAL)
    rows = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        Stage(given.keep or Path(scratch), given.seed) as stage,
    ):
        for fault in chosen:
            rows.append(fault.run(stage, given.times))
            sys.stdout.write(f"{' | '.join(rows[-1].cells())}  ({rows[-1].seconds:.0f} s)\n")
            sys.stdout.flush()
    failed = [row.name for row in rows if not row.passed]
    verdict = f"failed: {', '.join(failed)}" if failed else "every row passed"
    sys.stdout.write(f"\n{table(rows)}\n{machine()}; {verdict}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
