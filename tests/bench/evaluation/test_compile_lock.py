"""Processes that compile metrics at the same time into one empty cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.evaluation.metrics.base import compile_metric, fill_values, parse_metric
from tests.processes import CONTEXT, start

IDS = ("P@5:k", "P@5:min", "mAP@5:k")


def compile_metrics(folder: Path, functions_before: int, barrier: Any) -> None:
    """Compile each metric at its first call. numba's names depend on how many functions it compiled before."""
    import numba

    numba.config.CACHE_DIR = str(folder)
    compile_metric.cache_clear()  # the server of the processes has compiled them
    for n in range(functions_before):
        numba.njit(lambda x: x)(n)
    barrier.wait(60)
    ranks, values = np.array([[1, 3]]), np.zeros((len(IDS), 1))
    fill_values([parse_metric(each) for each in IDS], ranks, ranks, np.array([2]), values)
    assert np.allclose(values[:, 0], [2 / 5, 1 / 2, (1 + 2 / 3) / 5])


def test_processes_that_compile_at_once_leave_a_cache_that_works(tmp_path: Path) -> None:
    exit_codes = []
    for count in (2, 1):  # the last process finds the cache
        barrier = CONTEXT.Barrier(count)
        processes = [start(compile_metrics, tmp_path, n, barrier) for n in range(count)]
        for process in processes:
            process.join()
            exit_codes.append(process.exitcode)
    assert exit_codes == [0, 0, 0]
    assert list(tmp_path.rglob("*.nbi"))
