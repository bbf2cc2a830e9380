"""The one place that knows numba: a typed decorator for the loops that numpy cannot express."""

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
# Type and shape of what a metric may take, by name; n is at least the number of relevant photos.
TAKEN = {
    "ranks": ("int64[:]", "(n)"),
    "ends": ("int64[:]", "(n)"),
    "relevant": ("int64", "()"),
    "k": ("int64", "()"),
    "value": ("float64[:]", "()"),
}


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function to machine code at its first call; it runs without the interpreter lock.

    The machine code is kept on disk where that is possible. The kept code is renewed when the function's own file
    changes and not when another file does, so a compiled function calls only compiled functions of its own file.
    ``fastmath`` stays off: a sum keeps the order in which it is written, on every machine.
    """
    try:
        return cast("Callable[Arguments, Result]", numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no folder can be written for the kept code: compile anew in every process
        return cast("Callable[Arguments, Result]", numba.njit(nogil=True)(function))


def over_queries(
    function: Callable[..., None], helpers: Sequence[Callable[..., Any]]
) -> tuple[tuple[str, ...], Callable[..., Any]]:
    """Compile a function of one query: the names of its arguments, and a numpy ufunc that takes arrays of queries.

    ``helpers`` are Python functions that it may call. The machine code is kept as that of ``compiled`` is.
    """
    for each in helpers:
        _callable_when_compiled(each)
    *names, value = inspect.signature(function).parameters
    signature = f"void({','.join(TAKEN[name][0] for name in (*names, value))})"
    shapes = f"{','.join(TAKEN[name][1] for name in names)}->()"
    with _compile_lock():
        try:
            return tuple(names), numba.guvectorize([signature], shapes, cache=True)(function)
        except RuntimeError:  # no folder can be written, as above
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


_callable_when_compiled = cache(register_jitable)  # once each
