"""Exact ranking and metrics."""
