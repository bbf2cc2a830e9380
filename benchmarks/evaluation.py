"""Speed and memory of the ranking engine, a bare matrix product and other evaluators.

Run: python benchmarks/evaluation.py [--size tuberlin|sketchy|quickdraw] [--limit N] [--dim N] [--repeats N]
[--sample N] [--only NAME ...]

The data are synthetic unit vectors with the published number of sketches and photos of each unseen class. Each
evaluator runs in its own process, so that its peak memory can be measured:

engine        bench.evaluation.ranking: every default metric of every query
bench.evaluate
              the same metrics in Python; it alternates with the engine
bare product  numpy's matrix product of the same size, the least that any engine computes. Blocks run on all
              processors, one block per processor. It alternates with the engine; the best repeat of each counts
argsort       numpy's argsort of every query, then mAP@all:plain and P@100
torchmetrics  retrieval_average_precision, one query at a time
scikit-learn  average_precision_score, one query at a time
SAKE          our copy of its public test script: scipy's cdist in float64, then per query an argsort, a loop over the
              gallery for the envelope, and a second argsort for P@100 (src/test_cse_resnet_tuberlin_zeroshot.py:
              eval_AP_inner, VOCap, eval_precision)

All but the first two use at most --sample queries: seconds are scaled up, memory is that of the sample. Compare
ratios, not seconds. Other programs on the machine lengthen wall time, so processor time and load are printed, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

import bench
from bench.datasets.published.published_counts import counts_of_split
from bench.embeddings.arrays import Embeddings
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.ranking import rank
from bench.provenance import available_processors
from bench.types import Floats, Labels

SPLITS = {
    "tuberlin": ("tuberlin", "tuberlin-30"),
    "sketchy": ("sketchy", "sketchy-25"),
    "quickdraw": ("quickdraw", "quickdraw-30"),
}
BLOCK = 256  # queries whose scores are computed together
SEPARATION = 2.3  # standard deviations between cosines within and across classes; gives an mAP of about 0.6


def counts_of(size: str, limit: int | None) -> list[tuple[int, int]]:
    """Published numbers of sketches and photos of each unseen class, at most ``limit``."""
    most = limit or sys.maxsize
    published = counts_of_split(*SPLITS[size]).values()
    return [(min(sketches or 0, most), min(photos or 0, most)) for sketches, photos in published]


def embeddings(counts: list[tuple[int, int]], width: int) -> Embeddings:
    """Unit vectors: a normal cloud around the centre of each class, in random order."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((len(counts), width), dtype=np.float32)
    weight = np.float32(np.sqrt(SEPARATION / (np.sqrt(width) - SEPARATION)))

    def side(column: int) -> tuple[Floats, Labels]:
        labels = np.repeat(np.arange(len(counts)), [pair[column] for pair in counts])
        generator.shuffle(labels)
        vectors = generator.standard_normal((len(labels), width), dtype=np.float32)
        for begin in range(0, len(labels), BLOCK):  # in place, so that the evaluator sets the memory peak
            rows = slice(begin, begin + BLOCK)
            vectors[rows] += weight * centres[labels[rows]]
            vectors[rows] /= np.linalg.norm(vectors[rows], axis=1, keepdims=True)
        return vectors, labels

    (query, query_labels), (gallery, gallery_labels) = side(0), side(1)
    return Embeddings(query, gallery, query_labels, gallery_labels)


def engine(data: Embeddings) -> float:
    """Compute all default metrics; returns mAP@all:plain."""
    return rank(data, DEFAULT_METRICS).score("mAP@all:plain").value


def bare_product(data: Embeddings) -> float:
    """Compute each similarity once; returns NaN."""

    def one(begin: int) -> None:
        rows = data.query[begin : begin + BLOCK]
        rows @ data.gallery.T

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(available_processors()) as pool:
        list(pool.map(one, range(0, len(data.query), BLOCK)))
    return float("nan")


def python_api(data: Embeddings) -> float:
    """The same metrics by ``bench.evaluate``; returns mAP@all:plain."""
    found = bench.evaluate(
        data.query, data.gallery, data.query_labels, data.gallery_labels, metrics=list(DEFAULT_METRICS)
    )
    return found.scores["mAP@all:plain"]


def each_query(data: Embeddings, one: Callable[[Floats, npt.NDArray[np.bool_]], float]) -> float:
    """The mean of ``one(scores, relevant)`` over the queries, scores by blocks."""
    values = []
    for begin in range(0, len(data.query), BLOCK):
        scores = data.query[begin : begin + BLOCK] @ data.gallery.T
        labels = data.query_labels[begin : begin + BLOCK]
        values += [one(row, data.gallery_labels == label) for row, label in zip(scores, labels, strict=True)]
    return statistics.fmean(values)


def argsort(data: Embeddings) -> float:
    """mAP@all:plain from a full sort of each query."""

    def one(scores: Floats, relevant: npt.NDArray[np.bool_]) -> float:
        flags = relevant[np.argsort(-scores)]
        ranks = np.flatnonzero(flags) + 1
        flags[:100].mean()
        return float((np.arange(1, len(ranks) + 1) / ranks).mean())

    return each_query(data, one)


def torchmetrics(data: Embeddings) -> float:
    """Its mean average precision. Scores are shifted, because version 1.9 counts scores of 0 or less as irrelevant."""
    import torch
    from torchmetrics.functional.retrieval import retrieval_average_precision

    def one(scores: Floats, relevant: npt.NDArray[np.bool_]) -> float:
        return float(retrieval_average_precision(torch.from_numpy(scores + 2), torch.from_numpy(relevant)))

    return each_query(data, one)


def scikit_learn(data: Embeddings) -> float:
    """Its mean average precision."""
    from sklearn.metrics import average_precision_score

    return each_query(data, lambda scores, relevant: float(average_precision_score(relevant, scores)))


def sake(data: Embeddings) -> float:
    """The mean of its average precision: the precision envelope summed over the steps of recall."""
    from scipy.spatial.distance import cdist

    scores = -cdist(data.query, data.gallery)
    values = []
    for row, label in zip(scores, data.query_labels, strict=True):
        relevant = data.gallery_labels == label
        found = np.cumsum(relevant[np.argsort(-row)])
        recall = np.concatenate(([0.0], found / relevant.sum(), [1.0]))
        envelope = np.concatenate(([0.0], found / np.arange(1, len(found) + 1), [0.0]))
        for place in range(len(envelope) - 2, -1, -1):
            envelope[place] = max(envelope[place], envelope[place + 1])
        steps = [after != before for after, before in zip(recall[1:], recall[:-1], strict=True)]
        values.append(float(((recall[1:] - recall[:-1])[steps] * envelope[1:][steps]).sum()))
    for row, label in zip(scores, data.query_labels, strict=True):
        (data.gallery_labels == label)[np.argsort(-row)][:100].mean()
    return statistics.fmean(values)


EVALUATORS: dict[str, Callable[[Embeddings], float]] = {
    "engine": engine,
    "argsort": argsort,
    "torchmetrics": torchmetrics,
    "scikit-learn": scikit_learn,
    "SAKE": sake,
}


def take_queries(data: Embeddings, queries: int) -> Embeddings:
    """The first queries (in random order of classes) and the whole gallery."""
    return Embeddings(data.query[:queries], data.gallery, data.query_labels[:queries], data.gallery_labels)


def peak_mb() -> float:
    """Peak memory of this process so far; NaN without /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))


def measure_run(run: Callable[[Embeddings], float], data: Embeddings) -> dict[str, float]:
    """Wall time, processor time and result of a run."""
    begun, used = time.perf_counter(), time.process_time()
    value = run(data)
    return {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - used, "map": value}


def child(name: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Measure one evaluator in this process, the bare product with the engine."""
    data = embeddings(counts_of(options.size, options.limit), options.dim)
    small = Embeddings(data.query[:4], data.gallery[:400], data.query_labels[:4], data.gallery_labels[:400])
    if name != "engine":
        data = take_queries(data, options.sample)
    EVALUATORS[name](small)  # imports, compilation
    before = peak_mb()
    runs = [measure_run(EVALUATORS[name], data)]
    facts = {"mb": peak_mb() - before, "queries": len(data.query)}
    if name != "engine":
        return {name: {**runs[0], **facts}}
    products, evaluations = [], []
    for _ in range(options.repeats):
        products.append(measure_run(bare_product, data))
        runs.append(measure_run(engine, data))
        evaluations.append(measure_run(python_api, data))
    facts_of = {"engine": runs, "bench.evaluate": evaluations, "bare product": products}
    return {name: {**best(measured), **facts} for name, measured in facts_of.items()}


def best(runs: list[dict[str, float]]) -> dict[str, float]:
    """The least wall time and the least processor time of several runs."""
    return {**runs[0], **{kind: min(each[kind] for each in runs) for kind in ("seconds", "cpu")}}


def measure_in_process(name: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Run ``child`` in its own process."""
    call = [sys.executable, "-P", __file__, "--child", name, "--size", options.size, "--dim", str(options.dim)]
    call += ["--repeats", str(options.repeats), "--sample", str(options.sample)]
    call += [] if options.limit is None else ["--limit", str(options.limit)]
    result = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, dict[str, float]] = json.loads(result.stdout)
    return found


def show(name: str, found: dict[str, float], engine: dict[str, float], queries: int) -> None:
    """Print one line; seconds of a sample are scaled up."""
    scale = queries / found["queries"]
    seconds, cpu = scale * found["seconds"], scale * found["cpu"]
    figures = f"{seconds:>9.1f}{cpu:>9.1f}{seconds / engine['seconds']:>9.2f}{cpu / engine['cpu']:>9.2f}"
    rest = "" if name == "bare product" else f"{found['mb']:>8.0f}{found['map']:>9.4f}"
    scaled = "" if scale == 1 else f"  scaled from {found['queries']:,} queries"
    print(f"{name:<15}{figures}{rest or ' ' * 17}{os.getloadavg()[0]:>6.1f}{scaled}", flush=True)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SPLITS, default="tuberlin", help="dataset whose numbers are used")
    parser.add_argument("--limit", type=int, help="at most N sketches and photos per class, for a quick try")
    parser.add_argument("--dim", type=int, default=512, help="width of the vectors")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of the engine and the bare product")
    parser.add_argument("--sample", type=int, default=2_400, help="at most N queries for the other evaluators")
    parser.add_argument("--only", choices=EVALUATORS, action="append", help="compare only this; repeatable")
    parser.add_argument("--child", choices=EVALUATORS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child, options)))
        return
    queries, photos = map(sum, zip(*counts_of(options.size, options.limit), strict=True))
    print(
        f"{options.size}: {queries:,} queries x {photos:,} photos, {options.dim}-d, {available_processors()} processors"
    )
    print(f"{'':<15}{'-- seconds --':>18}{'- times engine -':>18}{'MB be-':>8}")
    print(f"{'evaluator':<15}{'clock':>9}{'proc.':>9}{'clock':>9}{'proc.':>9}{'yond':>8}{'mAP':>9}{'load':>6}")
    own: dict[str, float] = {}
    for name in ["engine", *(each for each in options.only or EVALUATORS if each != "engine")]:
        found = measure_in_process(name, options)
        own = own or found[name]
        for each, facts in found.items():
            show(each, facts, own, queries)
        if name == "engine":
            bare = found["bare product"]
            ratios = (
                f"{own['seconds'] / bare['seconds']:.2f} by the clock, {own['cpu'] / bare['cpu']:.2f} of the processors"
            )
            print(f"engine / bare product: {ratios}", flush=True)


if __name__ == "__main__":
    main()
