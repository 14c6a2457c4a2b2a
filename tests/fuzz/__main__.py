"""`python -m tests.fuzz --mutations 1000000 --seed 1`: exit 1 when anything was found."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.campaign import lines, run

parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
parser.add_argument("--mutations", type=int, default=1_000_000)
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()
report = run(arguments.mutations, arguments.seed)
sys.stdout.write("\n".join(lines(report)) + "\n")
for finding in report.findings[:10]:
    sys.stdout.write(f"\n{finding.kind} number {finding.number}: {finding.value.hex()}\n")
    sys.stdout.write(finding.error)
sys.exit(1 if report.faults else 0)
