"""Decorators that compile with numba."""

from __future__ import annotations

import contextlib
import fcntl
import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.extending import register_jitable

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
# Type and shape of a metric's arguments, by name; n is at least the number of relevant photos.
ARGUMENTS = {
    "ranks": ("int64[:]", "(n)"),
    "ends": ("int64[:]", "(n)"),
    "relevant": ("int64", "()"),
    "k": ("int64", "()"),
    "value": ("float64[:]", "()"),
}


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function at its first call; it releases the interpreter lock.

    The machine code is cached on disk if a folder is writable. numba compiles again when this function's file changes,
    not when another does: call only compiled functions of the same file. ``fastmath`` stays off, so sums keep their
    order on every machine.
    """
    try:
        return cast("Callable[Arguments, Result]", numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no cache folder is writable: each process compiles
        return cast("Callable[Arguments, Result]", numba.njit(nogil=True)(function))


def over_queries(
    function: Callable[..., None], helpers: Sequence[Callable[..., Any]]
) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """Compile a metric of one query: the names of its arguments, and a numpy ufunc over arrays of queries.

    ``helpers`` are the Python functions that it may call. The machine code is cached as in ``compiled``.
    """
    for each in helpers:
        _jitable(each)
    *names, value = inspect.signature(function).parameters
    signature = f"void({','.join(ARGUMENTS[name][0] for name in (*names, value))})"
    shapes = f"{','.join(ARGUMENTS[name][1] for name in names)}->()"
    with _compile_lock():
        try:
            return tuple(names), numba.guvectorize([signature], shapes, cache=True)(function)
        except RuntimeError:
            return tuple(names), numba.guvectorize([signature], shapes)(function)


@contextlib.contextmanager
def _compile_lock() -> Iterator[None]:
    """One process or thread compiles ufuncs at a time, the others wait.

    Numba caches a ufunc in two files. Two processes that write them at once leave files that do not fit together, and
    every later call crashes.
    """
    with Path(__file__).open() as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


_jitable = cache(register_jitable)  # each helper once
