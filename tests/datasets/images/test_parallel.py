"""Many small tasks on threads, results in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from bench.datasets.images.parallel import WINDOW, in_order


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_come_in_order_whatever_the_number_of_threads(workers: int) -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number * number

    assert list(in_order(slow_when_even, range(50), workers)) == [number * number for number in range(50)]


def test_tasks_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)  # passes only when two tasks wait at once
    assert list(in_order(lambda _: meeting.wait() >= 0, range(2), 2)) == [True, True]


def test_no_more_than_a_window_is_begun() -> None:
    asked: list[int] = []

    def arguments() -> Iterator[int]:
        for number in range(1000):
            asked.append(number)
            yield number

    results = in_order(lambda number: number, arguments(), 2)
    assert next(results) == 0
    assert len(asked) == 2 * WINDOW


def test_an_error_stands_where_its_result_would() -> None:
    def picky(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = in_order(picky, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
