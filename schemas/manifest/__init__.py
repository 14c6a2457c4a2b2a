"""The Experiment manifest: what people write, and the spec the decider works from."""
