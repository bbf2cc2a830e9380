"""The entry point: imports every file of ``bench/cli/commands``, so that a new file there is a new command."""

from __future__ import annotations

import atexit
import gc
import importlib
import pkgutil
import signal
from collections.abc import Sequence
from types import FrameType

import bench.cli.commands
from bench.cli.app import app
from bench.signals import Terminated, ignore_signals

for _module in sorted(pkgutil.iter_modules(bench.cli.commands.__path__), key=lambda each: each.name):
    importlib.import_module(f"bench.cli.commands.{_module.name}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The program ``bench``; ends the process with an exit code of ``bench/errors.py``."""
    signal.signal(signal.SIGTERM, _unwind_on_sigterm)
    # Importing torch and its kin makes a million objects that stay: looking through them for garbage, while they come
    # and once more at the end, costs a second of a start.
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)
    try:
        app(args=None if arguments is None else list(arguments), prog_name="bench")
    finally:
        # How it ends is decided: one more Ctrl-C, while the interpreter tidies up, must not change the exit code.
        ignore_signals()


def _unwind_on_sigterm(number: int, frame: FrameType | None) -> None:
    raise Terminated
