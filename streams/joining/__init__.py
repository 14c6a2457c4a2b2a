"""Joining: predictions, shadow predictions and outcomes become facts."""
