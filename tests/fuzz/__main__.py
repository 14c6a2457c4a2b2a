"""`python -m tests.fuzz --mutations 1000000 --seed 1`: exit 1 when anything was found.

`--atheris` follows coverage instead, for `--seconds`; it needs the dependency group `fuzz`.
"""

from __future__ import annotations

import argparse
import sys

from tests.fuzz import guided


def mutate(mutations: int, seed: int) -> int:
    """The campaign by numbers."""
    from tests.fuzz.campaign import lines, run

    report = run(mutations, seed)
    sys.stdout.write("\n".join(lines(report)) + "\n")
    for finding in report.findings[:10]:
        sys.stdout.write(f"\n{finding.kind} number {finding.number}: {finding.value.hex()}\n")
        sys.stdout.write(finding.error)
    return 1 if report.faults else 0


parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
parser.add_argument("--mutations", type=int, default=1_000_000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--atheris", action="store_true", help="let coverage lead, for --seconds")
parser.add_argument("--seconds", type=int, default=600)
given = parser.parse_args()
sys.exit(
    guided.campaign(given.seconds, given.seed)
    if given.atheris
    else mutate(given.mutations, given.seed)
)
