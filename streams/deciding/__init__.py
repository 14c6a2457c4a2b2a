"""The decider's fold: control, applied, observations -> decisions, routing tables, commands."""
