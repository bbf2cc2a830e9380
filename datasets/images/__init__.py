"""Decode image files, augment them, and draw training batches."""
