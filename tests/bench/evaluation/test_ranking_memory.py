"""What the engine needs beyond the embeddings, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")  # getrusage would tell the peak of the process that started this one

# 6,000 x 20,000 scores are 480 MB in float32: a whole matrix, or a growing number of tiles, would show.
QUERIES, PHOTOS, WIDTH = 6_000, 20_000, 32
ALLOWED_MB = 100

PROGRAM = f"""
from pathlib import Path
import numpy as np
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.ranking import rank
from bench.embeddings.arrays import Embeddings

def peak():
    lines = Path("{STATUS}").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))

def embeddings(queries, photos):
    generator = np.random.default_rng(0)
    vectors = [generator.standard_normal((rows, {WIDTH}), dtype=np.float32) for rows in (queries, photos)]
    return Embeddings(*vectors, *(generator.integers(0, 30, rows) for rows in (queries, photos)))

rank(embeddings(10, 100), DEFAULT_METRICS, top=200)
everything = embeddings({QUERIES}, {PHOTOS})
before = peak()
found = rank(everything, DEFAULT_METRICS, top=200, threads=2)
print(peak() - before - found.top.nbytes / 2**20)
"""


@pytest.mark.skipif(not STATUS.exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_queries() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert 0 < float(result.stdout) < ALLOWED_MB
