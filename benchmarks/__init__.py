"""Benchmarks: `python -m benchmarks.<name>`, one per figure of `docs/benchmarks.md`.

Each prints the machine and its load beside what it measured; figures that compare are ratios
of one run. Nothing here is timed by the tests.
"""
