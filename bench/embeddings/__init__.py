"""Embeddings: arrays, files, cache, binary codes."""
