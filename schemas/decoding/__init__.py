"""Many records of one topic -> columns and faults; pure, and it knows nothing of state."""
