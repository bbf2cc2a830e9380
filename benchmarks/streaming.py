"""Speed and memory of ranking a gallery of two million photos on disk.

Run: python benchmarks/streaming.py [--queries N] [--photos N] [--dim N] [--classes N] [--threads N] [--folder DIR]

``memmap.ShardWriter`` writes synthetic unit vectors into a temporary folder (1 GB at the default size). Photos are in
random order, the worst case: each block has photos of every class. Then, each in its own process:

shards        bench.evaluation.ranking over the folder: every default metric of every query
in memory     the same with the whole gallery in memory
bare product  numpy's matrix products of all queries with the same mapped shards, 128 queries by 16,384 photos at a
              time on as many threads: the least that any engine computes

Memory is the peak beyond that of imports and a first small ranking. It includes pages of mapped files, which the system
may drop at any time. Each runs once; compare ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bench.embeddings.files import read_file
from bench.embeddings.memmap import ShardWriter, Side, open_shards
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_result import Ranking
from bench.types import Floats, Labels

AT_ONCE = 2**16  # photos made at a time
SEPARATION = 2.3  # standard deviations between cosines within and across classes
TILE, COLUMNS, SPAN = 128, 16_384, 131_072  # of the bare product, as in the engine


def write(folder: Path, queries: int, photos: int, width: int, classes: int) -> None:
    """Write queries and gallery."""
    with ShardWriter(folder) as writer:
        write_side(writer, "query", queries, width, classes, 1)
        write_side(writer, "gallery", photos, width, classes, 2)


def write_side(writer: ShardWriter, side: Side, rows: int, width: int, classes: int, seed: int) -> None:
    """Write unit vectors, a normal cloud around the centre of each class, block by block."""
    centres = np.random.default_rng(0).standard_normal((classes, width), dtype=np.float32)
    weight = np.float32(np.sqrt(SEPARATION / (np.sqrt(width) - SEPARATION)))
    generator = np.random.default_rng(seed)
    for begin in range(0, rows, AT_ONCE):
        labels: Labels = generator.integers(0, classes, min(AT_ONCE, rows - begin))
        vectors: Floats = generator.standard_normal((len(labels), width), dtype=np.float32)
        vectors += weight * centres[labels]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        writer.add(side, vectors, labels)


def figure(ranking: Ranking) -> float:
    """mAP@all:plain of a ranking with all default metrics."""
    return ranking.score("mAP@all:plain").value


def shards(folder: Path, threads: int) -> float:
    """The engine over the folder."""
    return figure(rank(open_shards(folder), DEFAULT_METRICS, threads=threads))


def in_memory(folder: Path, threads: int) -> float:
    """The engine over arrays."""
    return figure(rank(read_file(folder).embeddings, DEFAULT_METRICS, threads=threads))


def bare_product(folder: Path, threads: int) -> float:
    """Compute each similarity once; returns NaN."""
    data = open_shards(folder)
    photos = data.gallery.shape[0]
    tiles = [data.query[begin : begin + TILE] for begin in range(0, len(data.query), TILE)]

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for first in range(0, photos, SPAN):
            span = data.gallery[first : first + SPAN]

            def one(tile: Floats, span: Floats = span) -> None:
                for begin in range(0, len(span), COLUMNS):
                    tile @ span[begin : begin + COLUMNS].T

            list(pool.map(one, tiles))
    return float("nan")


RUNS: dict[str, Callable[[Path, int], float]] = {"shards": shards, "in memory": in_memory, "bare product": bare_product}


def peak_mb() -> float:
    """Peak memory of this process so far; NaN without /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))


def child(name: str, folder: Path, threads: int) -> dict[str, float]:
    """Measure one run in this process."""
    with tempfile.TemporaryDirectory() as small:  # imports, compilation
        write(Path(small), 4, 400, 16, 3)
        RUNS["shards"](Path(small), threads)
        RUNS[name](Path(small), threads)
    before, begun, used = peak_mb(), time.perf_counter(), time.process_time()
    value = RUNS[name](folder, threads)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    return {"seconds": seconds, "cpu": cpu, "mb": peak_mb() - before, "map": value}


def main() -> None:
    """Write the shards, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--photos", type=int, default=2_000_000)
    parser.add_argument("--dim", type=int, default=128, help="width of the vectors")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child[0], Path(options.child[1]), options.threads)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        begun = time.perf_counter()
        write(folder, options.queries, options.photos, options.dim, options.classes)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(
            f"{options.queries:,} queries x {options.photos:,} photos, {options.dim}-d, {options.classes} classes, "
            f"{options.threads} threads\n{size / 1e6:,.0f} MB of shards made and written in "
            f"{time.perf_counter() - begun:.0f} s"
        )
        print(f"{'':<13}{'-- seconds --':>18}{'- times bare -':>17}{'MB be-':>8}")
        print(f"{'run':<13}{'clock':>9}{'proc.':>9}{'clock':>8}{'proc.':>9}{'yond':>8}{'mAP':>9}{'load':>6}")
        bare: dict[str, float] = {}
        for run in ("bare product", "shards", "in memory"):
            call = [sys.executable, "-P", __file__, "--child", run, name, "--threads", str(options.threads)]
            found = json.loads(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout)
            bare = bare or found
            times = f"{found['seconds']:>9.1f}{found['cpu']:>9.1f}"
            ratios = f"{found['seconds'] / bare['seconds']:>8.2f}{found['cpu'] / bare['cpu']:>9.2f}"
            value = "" if run == "bare product" else f"{found['map']:.4f}"
            print(f"{run:<13}{times}{ratios}{found['mb']:>8.0f}{value:>9}{os.getloadavg()[0]:>6.1f}", flush=True)


if __name__ == "__main__":
    main()
