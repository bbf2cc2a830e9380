"""Many small tasks on threads, with results in order and no more than a window of them waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")
WINDOW = 16  # tasks a thread that are begun before their result is asked for


def in_order(function: Callable[[A], R], arguments: Iterable[A], workers: int) -> Iterator[R]:
    """``function`` of every argument, in order, computed on ``workers`` threads (in this one for fewer than two).

    An exception of a task is raised where its result would stand, and what has not begun is dropped. Worth it where
    the function lets go of the interpreter's lock, as reading and decoding do.
    """
    if workers < 2:
        yield from map(function, arguments)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for argument in arguments:
                waiting.append(pool.submit(function, argument))
                if len(waiting) >= workers * WINDOW:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
