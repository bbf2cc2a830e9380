"""The entry point: imports every file of ``bench/cli/commands``, so that a new file is a new command."""

from __future__ import annotations

import errno
import importlib
import io
import os
import pkgutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import bench.cli.commands
from bench.cli.app import app
from bench.errors import StorageError
from bench.garbage import spare_imports
from bench.signals import Terminated, ignore_signals

for _module in sorted(pkgutil.iter_modules(bench.cli.commands.__path__), key=lambda each: each.name):
    importlib.import_module(f"bench.cli.commands.{_module.name}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``bench``; the process ends with an exit code of ``bench/errors.py``."""
    try:
        _run(arguments)
    except KeyboardInterrupt as error:  # before the command began, or after it ended
        ignore_signals()
        sys.exit(143 if isinstance(error, Terminated) else 130)


def _run(arguments: Sequence[str] | None) -> None:
    signal.signal(signal.SIGTERM, _raise_terminated)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: its number must not become that of the database
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open to the end
        getattr(sys, name).reconfigure(errors="backslashreplace")  # for characters that the terminal does not have
    _outlive_reader()
    spare_imports()
    try:
        app(args=arguments, prog_name="bench")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be written
        print(f"error: The output cannot be written ({error.strerror}): free some space.", file=sys.stderr)
        sys.exit(StorageError.exit_code)
    finally:
        ignore_signals()  # a Ctrl-C while the interpreter exits must not change the exit code


class _Output(io.FileIO):
    """A file whose reader may leave: what is written after that is dropped."""

    def write(self, data: Any, /) -> int:
        """Write, as ``FileIO`` does."""
        try:
            return super().write(data)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return super().write(data)


def _outlive_reader() -> None:
    """Let ``bench ... | head`` end with the exit code of the work, not with that of the pipe."""
    out = sys.stdout
    if out is sys.__stdout__ and out is not None:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(out.fileno(), "wb", closefd=False)),
            encoding=out.encoding,
            errors=out.errors,
            line_buffering=out.line_buffering,
        )


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated
