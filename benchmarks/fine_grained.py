"""Time and memory of ranking by instance at the size of a fine-grained split of Sketchy.

Run: python benchmarks/fine_grained.py [--split NAME] [--limit N] [--dim N]

The data are synthetic: one random vector per original photo, and for each sketch the vector of its photo with noise.
Both readings are ranked: the photos of the query's class, and all photos. Each prints acc@1, seconds, processor
seconds and the peak memory of the process, which holds the vectors.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from bench.datasets.published.published_counts import counts_of_split
from bench.embeddings.arrays import Embeddings
from bench.evaluation.metrics.base import FINE_GRAINED_METRICS
from bench.evaluation.ranking import rank

NOISE = 12.0  # standard deviation of a sketch around its photo; gives an acc@1 of 0.28 in a class at 512-d


def embeddings(split: str, limit: int | None, width: int) -> Embeddings:
    """Queries and photos with the published numbers of each class, at most ``limit`` queries of a class."""
    random = np.random.default_rng(0)
    wanted, query_groups, gallery_groups = [], [], []
    for number, (sketches, photos) in enumerate(counts_of_split("sketchy", split).values()):
        first, own = len(gallery_groups), min(sketches or 0, limit or 10**9)
        gallery_groups += [number] * (photos or 0)
        query_groups += [number] * own
        wanted += (first + random.integers(0, photos or 1, own)).tolist()
    gallery = random.standard_normal((len(gallery_groups), width), dtype=np.float32)
    labels = np.array(wanted, dtype=np.int64)
    query = gallery[labels] + NOISE * random.standard_normal((len(labels), width), dtype=np.float32)
    groups = {"query_groups": np.array(query_groups), "gallery_groups": np.array(gallery_groups)}
    return Embeddings(query, gallery, labels, np.arange(len(gallery)), np.array(query_groups), **groups)


def measure(title: str, data: Embeddings) -> None:
    """Rank once and print what it took."""
    start, used = time.perf_counter(), time.process_time()
    accuracy = rank(data, FINE_GRAINED_METRICS).score("acc@1").value
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts kilobytes
    print(f"{title:12} acc@1 {accuracy:.3f} {seconds:8.2f} s {processor:8.2f} s of processors {peak:8,.0f} MB")


def main() -> None:
    """Measure both readings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="sketchy-21-fine")
    parser.add_argument("--limit", type=int, help="queries of a class")
    parser.add_argument("--dim", type=int, default=512)
    options = parser.parse_args()
    rank(embeddings(options.split, 1, 8), FINE_GRAINED_METRICS)  # compiles
    data = embeddings(options.split, options.limit, options.dim)
    print(f"{options.split}: {len(data.query):,} queries x {len(data.gallery):,} photos, {options.dim}-d")
    measure("own class", data)
    measure("all photos", replace(data, query_groups=None, gallery_groups=None))


if __name__ == "__main__":
    main()
