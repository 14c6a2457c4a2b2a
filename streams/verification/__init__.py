"""Verification: records derived again from the logs, held against the records that were written.

The first copy of a record counts; later copies, as after a crash, must equal it byte for byte.
What was derived and not yet written when the log ends is no difference: the writer was behind.
"""
