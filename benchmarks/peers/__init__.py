"""The same join, written as others would: what the joiner is compared with, in the same run.

Each program reads topics that were filled before, joins every shadow prediction and outcome with
its prediction, and writes running aggregates per experiment, variant and metric. They read the
same topics and records as the joiner, with the real schemas, and skip its ticks. What they are
told comes by environment variables (`Job`); what they measured goes out as one line `RESULT`.
"""
