"""Datasets, one file each; see ``datasets/base.py`` for what a dataset is."""
