"""Layouts, file lists and splits of the published datasets."""
