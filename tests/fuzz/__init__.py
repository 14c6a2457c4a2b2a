"""Hostile bytes: frames that clients, joiner and decider wrote (`corpus/`), mutated by a seed.

    python -m tests.fuzz --mutations 1000000
"""
