"""Metrics of a ranking, one file a family."""
