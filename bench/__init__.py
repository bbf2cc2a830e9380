"""Benchmark harness for zero-shot sketch-based image retrieval.

``__init__.pyi`` lists the names of the Python API. Each is imported at its first use, so that ``import bench`` is fast.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
