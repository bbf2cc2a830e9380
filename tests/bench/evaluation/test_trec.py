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


KINDS = ("cosine", "hamming", "groups", "pairs")


def score(kind: str, folder: Path) -> dict[str, dict[int, float]]:
    """Our value of each query that has one, by metric; the files are in ``folder``."""
    rng = np.random.default_rng(3)
    found = clouds(rng, kind == "hamming")
    arrays = {name: getattr(found, name) for name in ("query", "gallery", "query_labels", "gallery_labels")}
    if kind == "groups":
        arrays |= {"query_groups": rng.integers(0, 3, 40), "gallery_groups": rng.integers(0, 3, 70)}
    given: type[Embeddings | ScoreMatrix] = Embeddings
    if kind == "pairs":
        del arrays["query"], arrays["gallery"]
        arrays, given = {**arrays, "scores": rng.integers(0, 9, (40, 70)).astype(np.float32)}, ScoreMatrix
    np.savez(folder / "e.npz", **arrays)
    distance: Distance = "hamming" if kind == "hamming" else "cosine"
    by = ["--distance", distance] if given is Embeddings else []
    files = ["--trec-run", str(folder / "run.txt"), "--trec-qrels", str(folder / "qrels.txt")]
    called = CliRunner().invoke(app, ["score", str(folder / "e.npz"), *by, *files, "--metric", "P@5:k"])
    assert called.exit_code == 0, called.stderr
    ranking = rank(given(**arrays), list(NAMES), distance=distance)
    values = {metric: ranking.per_query(metric) for metric in NAMES}
    return {metric: {n: v for n, v in enumerate(each) if not np.isnan(v)} for metric, each in values.items()}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, dict[str, dict[int, float]]]:
    """Values of each kind by the folder of its files."""
    return {folder: score(kind, folder) for kind in KINDS for folder in [tmp_path_factory.mktemp(kind)]}


def test_ir_measures_has_our_figures(scored: dict[Path, dict[str, dict[int, float]]]) -> None:
    for folder, ours in scored.items():
        qrels = list(ir_measures.read_trec_qrels(str(folder / "qrels.txt")))
        run = list(ir_measures.read_trec_run(str(folder / "run.txt")))
        for metric, (measure, _) in NAMES.items():
            theirs = {int(each.query_id[1:]): each.value for each in ir_measures.iter_calc([measure], qrels, run)}
            theirs = {query: value for query, value in theirs.items() if query in ours[metric]}
            assert theirs == pytest.approx(ours[metric], abs=1e-6), (folder, metric)


RANX = """
import json, sys
from ranx import Qrels, Run, evaluate
names, *folders = sys.argv[1:]
for folder in folders:
    qrels = Qrels.from_file(f"{folder}/qrels.txt", kind="trec")
    run = Run.from_file(f"{folder}/run.txt", kind="trec")
    found = evaluate(qrels, run, names.split(), make_comparable=True)
    print(json.dumps({name: float(value) for name, value in found.items()}))
"""


def test_ranx_has_our_figures(scored: dict[Path, dict[str, dict[int, float]]]) -> None:
    """In a process without numba's compiler, which takes half a minute for ranx and has no part in its figures."""
    call = [sys.executable, "-c", RANX, " ".join(name for _, name in NAMES.values()), *map(str, scored)]
    lines = subprocess.check_output(call, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}).splitlines()
    for line, (folder, ours) in zip(lines, scored.items(), strict=True):
        found = json.loads(line)
        for metric, (_, name) in NAMES.items():
            assert found[name] == pytest.approx(np.mean(list(ours[metric].values())), abs=1e-6), (folder, metric)


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
