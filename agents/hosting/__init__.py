"""Hosting of folds: feed, drain, publish, checkpoint, recover. No decision is taken here."""
