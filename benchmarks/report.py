"""Seconds of ``bench report`` on a store of many runs, including the start of the process.

Run: python benchmarks/report.py [--runs N] [--scores N] [--repeats N]

The store has 20 methods with 5 seeds on as many datasets as needed. Each run has scores and the values of 500 queries
in 25 classes. Wall time and processor time are printed, because other programs may run on the machine; the best repeat
counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.evaluation.metrics.base import DEFAULT_METRICS, MAIN_METRICS
from bench.evaluation.ranking_result import Ranking
from bench.provenance import processor
from bench.results import details
from bench.results.store import Store
from bench.settings.request import Request
from bench.types import Score

METHODS, SEEDS, CLASSES, QUERIES = 20, 5, 25, 500
TARGET = 2.0
KINDS = (("main", "md"), ("main", "latex"), ("cost", "md"))


def fill(store: Store, runs: int, scores: int) -> None:
    """Store runs with random scores and details."""
    generator = np.random.default_rng(0)
    named = [*DEFAULT_METRICS, "P@5:k"]
    ids = [*named, *(f"P@{k}:min" for k in range(6, 6 + scores // 2 - len(named)))]
    stored_ids = tuple(dict.fromkeys((*MAIN_METRICS, *(f"P@{k}:k" for k in details.CURVE_AT))))
    labels = np.repeat(np.arange(CLASSES), QUERIES // CLASSES)
    relevant = np.full(QUERIES, 300)
    for number in range(runs):
        dataset, method, seed = number // (METHODS * SEEDS), number // SEEDS % METHODS, number % SEEDS
        identity = {
            "key": f"{number:064d}",
            "method": f"method-{method:02d}",
            "ablation": "",
            "dataset": f"dataset-{dataset}",
            "split": f"split-{dataset}",
            "fingerprint": f"{dataset:064d}",
            "seed": seed,
            "selection": "last",
            "gallery": "unseen",
            "per_class_limit": None,
            "configuration": {"run": {"lr": 1e-4}, "method": {"margin": 0.3}},
            "environment": {"torch": "2"},
            "request": Request(f"method-{method:02d}", f"dataset-{dataset}", f"split-{dataset}").to_json(),
        }
        values = np.clip(generator.normal(0.3 + 0.02 * method, 0.2, (len(stored_ids), QUERIES)), 0, 1)
        ranking = Ranking(stored_ids, values, relevant, labels)
        scores = tuple(
            Score(each, mean, float(generator.random()), QUERIES) for each in ids for mean in ("queries", "classes")
        )
        packed = details.pack(ranking, np.zeros(1, dtype=np.int64), [f"class-{n}" for n in range(CLASSES)], [])
        run = store.run(store.begin(identity))
        store.finish(replace(run, scores=scores, seconds={"training": 100.0}), packed)


def measure(path: Path, kind: str, format: str) -> tuple[float, float, int]:
    """Wall time, processor time and size in bytes of one report."""
    command = [sys.executable, "-m", "bench", "report", "--store", str(path), "--kind", kind, "--format", format]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, len(done.stdout)


def main() -> None:
    """Fill a store, time each report, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--scores", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        store = Store(str(path))
        fill(store, options.runs, options.scores)
        store.close()
        print(
            f"{options.runs} runs with {options.scores} scores each, {path.stat().st_size / 1e6:.0f} MB; "
            f"{processor()}\n"
        )
        print("| report | seconds | of the processor | kB | target |\n| --- | ---: | ---: | ---: | ---: |")
        for kind, format in KINDS:
            every = [measure(path, kind, format) for _ in range(options.repeats)]
            wall, processor_time, size = (min(each[n] for each in every) for n in range(3))
            print(f"| {kind}, {format} | {wall:.2f} | {processor_time:.2f} | {size / 1e3:.0f} | {TARGET:.1f} |")


if __name__ == "__main__":
    main()
