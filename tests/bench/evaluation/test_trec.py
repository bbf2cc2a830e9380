"""TREC files, read and evaluated by two other programs: their figures are ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, P, nDCG
from typer.testing import CliRunner

from bench.cli.main import app
from bench.embeddings.arrays import Embeddings, ScoreMatrix
from bench.evaluation.ranking import rank
from bench.types import Distance

# The same value under three names; a query without a relevant photo has none.
NAMES = {
    "mAP@all:plain": (AP, "map"),
    "mAP@10:all": (AP @ 10, "map@10"),
    "P@5:k": (P @ 5, "precision@5"),
    "nDCG@10": (nDCG @ 10, "ndcg@10"),
}


def clouds(rng: np.random.Generator, codes: bool) -> Embeddings:
    """Six classes; class 5 has queries and no photo. Codes of eight bits have many equal distances."""
    labels, gallery_labels = rng.integers(0, 6, 40), rng.integers(0, 5, 70)
    centres = rng.normal(size=(6, 8))
    sides = [centres[each] + rng.normal(size=(len(each), 8)) for each in (labels, gallery_labels)]
    vectors = [(each > 0 if codes else each).astype(np.float32) for each in sides]
    return Embeddings(vectors[0], vectors[1], labels, gallery_labels)


@pytest.fixture(params=["cosine", "hamming", "groups", "pairs"])
def scored(request: pytest.FixtureRequest, runner: CliRunner, tmp_path: Path) -> dict[str, dict[int, float]]:
    """Our value of each query that has one, by metric; the files are in ``tmp_path``."""
    rng = np.random.default_rng(3)
    found = clouds(rng, request.param == "hamming")
    arrays = {name: getattr(found, name) for name in ("query", "gallery", "query_labels", "gallery_labels")}
    if request.param == "groups":
        arrays |= {"query_groups": rng.integers(0, 3, 40), "gallery_groups": rng.integers(0, 3, 70)}
    kind: type[Embeddings | ScoreMatrix] = Embeddings
    if request.param == "pairs":
        del arrays["query"], arrays["gallery"]
        arrays, kind = {**arrays, "scores": rng.integers(0, 9, (40, 70)).astype(np.float32)}, ScoreMatrix
    np.savez(tmp_path / "e.npz", **arrays)
    distance: Distance = "hamming" if request.param == "hamming" else "cosine"
    by = ["--distance", distance] if kind is Embeddings else []
    call = ["score", "e.npz", *by, "--trec-run", "run.txt", "--trec-qrels", "qrels.txt"]
    called = runner.invoke(app, [*call, "--metric", "P@5:k"])
    assert called.exit_code == 0, called.stderr
    ranking = rank(kind(**arrays), list(NAMES), distance=distance)
    values = {metric: ranking.per_query(metric) for metric in NAMES}
    return {metric: {n: v for n, v in enumerate(each) if not np.isnan(v)} for metric, each in values.items()}


def test_ir_measures_has_our_figures(scored: dict[str, dict[int, float]], tmp_path: Path) -> None:
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels.txt")))
    run = list(ir_measures.read_trec_run(str(tmp_path / "run.txt")))
    for metric, (measure, _) in NAMES.items():
        theirs = {int(each.query_id[1:]): each.value for each in ir_measures.iter_calc([measure], qrels, run)}
        theirs = {query: value for query, value in theirs.items() if query in scored[metric]}
        assert theirs == pytest.approx(scored[metric], abs=1e-6), metric


RANX = """
import json, sys
from ranx import Qrels, Run, evaluate
qrels, run = Qrels.from_file("qrels.txt", kind="trec"), Run.from_file("run.txt", kind="trec")
print(json.dumps({k: float(v) for k, v in evaluate(qrels, run, sys.argv[1:], make_comparable=True).items()}))
"""


def test_ranx_has_our_figures(scored: dict[str, dict[int, float]], tmp_path: Path) -> None:
    """In a process without numba's compiler, which takes half a minute for ranx and has no part in its figures."""
    call = [sys.executable, "-c", RANX, *(name for _, name in NAMES.values())]
    found = json.loads(subprocess.check_output(call, cwd=tmp_path, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}))
    for metric, (_, name) in NAMES.items():
        assert found[name] == pytest.approx(np.mean(list(scored[metric].values())), abs=1e-6), metric


def test_a_file_that_cannot_be_written_is_named(runner: CliRunner, tmp_path: Path) -> None:
    found = clouds(np.random.default_rng(0), codes=False)
    np.savez(
        tmp_path / "e.npz",
        query=found.query,
        gallery=found.gallery,
        query_labels=found.query_labels,
        gallery_labels=found.gallery_labels,
    )
    called = runner.invoke(app, ["score", "e.npz", "--trec-run", "missing/run.txt"])
    assert called.exit_code == 2
    assert "missing/run.txt" in called.stderr
