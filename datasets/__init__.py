"""Datasets, one file each; ``datasets/base.py`` holds the base class."""
