"""Checks of images on disk."""
