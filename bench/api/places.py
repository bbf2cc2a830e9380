"""Where the API finds things: the argument, the environment variable ``BENCH_*``, the default of the commands."""

from __future__ import annotations

import os
from pathlib import Path

from bench.io import default_cache_folder


def store_url(store: str | Path | None) -> str:
    """The results database."""
    return str(store or os.environ.get("BENCH_STORE") or "./bench.db")


def data_folder(data_root: str | Path | None) -> Path:
    """The folder of the datasets."""
    return Path(data_root or os.environ.get("BENCH_DATA_ROOT") or "./data")


def cache_folder(cache_dir: str | Path | None) -> Path:
    """The cache folder."""
    chosen = cache_dir or os.environ.get("BENCH_CACHE_DIR")
    return Path(chosen) if chosen else default_cache_folder()
