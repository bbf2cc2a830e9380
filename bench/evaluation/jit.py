"""The one place that knows numba: a typed decorator for the loops that numpy cannot express."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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
