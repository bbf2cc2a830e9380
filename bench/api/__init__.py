"""The Python API. ``bench/__init__.pyi`` lists the public names; docs/python.md shows each by example."""
