"""Benchmark harness for zero-shot sketch-based image retrieval: command line and engine."""

__version__ = "0.1.0"
