"""Real faults: processes, a real Apache Kafka, signals, cut wires. `python -m tests.faults`."""
