"""What every process of the program loads, so that one server does it before the processes are forked from it."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from pathlib import Path

import sqlalchemy
import typer.main
from PIL import Image

import bench.cli.run_requests
import bench.datasets
import bench.methods
import bench.reports.build
from bench.cli.main import app
from bench.datasets.emoji import Emoji
from bench.evaluation.ranking import compile_kernels

for package in (bench.datasets, bench.methods):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
typer.main.get_command(app).commands["run"].make_context("run", [], resilient_parsing=True)  # type: ignore[attr-defined]
sqlalchemy.create_engine("sqlite://").connect().close()
Image.init()
Emoji(Path()).split()  # opens the archive
compile_kernels()
gc.freeze()  # processes that are forked from here share it
