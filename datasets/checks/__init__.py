"""Checks of the images on disk."""
