"""Search with a sketch of one's own."""
