"""``bench.evaluate``: arrays of every kind give the engine's figures; a mistake names the argument."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from bench.embeddings.arrays import ScoreMatrix
from bench.evaluation.ranking import rank
from tests.bench.evaluation.clouds import clouds

DATA = clouds(queries=60, photos=400, width=8)  # 2 queries have no photo
ARRAYS: dict[str, Any] = {
    "query": DATA.query,
    "gallery": DATA.gallery,
    "query_labels": DATA.query_labels,
    "gallery_labels": DATA.gallery_labels,
}
METRICS = ["mAP@all:plain", "mAP@all:plain@classes", "P@10:k"]


def with_grad(array: Any) -> torch.Tensor:
    return torch.from_numpy(array).requires_grad_()


FORMS: dict[str, tuple[Any, Any]] = {
    "numpy": (np.asarray, np.asarray),
    "float64 and text": (np.float64, lambda labels: labels.astype(str)),
    "float64 and objects": (np.float64, lambda labels: labels.astype(str).astype(object)),
    "lists": (np.ndarray.tolist, np.ndarray.tolist),
    "lists of text": (np.ndarray.tolist, lambda labels: [f"class {label}" for label in labels]),
    "tensors with gradients": (with_grad, torch.from_numpy),
    "tensors of double": (
        lambda array: torch.from_numpy(array).double(),
        lambda labels: torch.from_numpy(labels).int(),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_every_kind_give_the_engines_figures(form: str) -> None:
    vectors, labels = FORMS[form]
    arrays = {name: (labels if "labels" in name else vectors)(array) for name, array in ARRAYS.items()}
    result = bench.evaluate(**arrays, metrics=METRICS, top=3)
    ranking = rank(DATA, METRICS, top=3)
    assert result.scores == {
        "mAP@all:plain": ranking.score("mAP@all:plain").value,
        "mAP@all:plain@classes": ranking.score("mAP@all:plain", "classes").value,
        "P@10:k": ranking.score("P@10:k").value,
    }
    assert np.array_equal(result.per_query["P@10:k"], ranking.per_query("P@10:k"), equal_nan=True)
    assert result.top is not None
    assert (result.top == ranking.top).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_ranked_as_it_is(kind: torch.dtype) -> None:
    query, gallery = (torch.from_numpy(ARRAYS[name]).to(kind) for name in ("query", "gallery"))
    found = bench.evaluate(query, gallery, DATA.query_labels, DATA.gallery_labels)
    same = bench.evaluate(query.float(), gallery.float(), DATA.query_labels, DATA.gallery_labels)
    assert found.scores == same.scores


def test_text_labels_of_every_kind() -> None:
    texts = ["cat", "dog", "owl"]
    for kind in (np.str_, object, *([np.dtypes.StringDType()] if hasattr(np.dtypes, "StringDType") else [])):
        result = bench.evaluate(np.eye(3), np.eye(3), np.asarray(texts, dtype=kind), texts)
        assert (result.scores["mAP@all:plain"], result.class_names) == (1, ("cat", "dog", "owl"))


def test_the_values_of_classes_have_the_users_labels() -> None:
    names = np.array(["ant", "bee", "cat"])
    labels = np.arange(6) % 3
    result = bench.evaluate(np.eye(3)[labels], np.eye(3), names[labels], names)
    assert result.per_class["mAP@all:plain"] == {"ant": 1.0, "bee": 1.0, "cat": 1.0}
    assert bench.evaluate(np.eye(3)[labels], np.eye(3), labels, range(3)).per_class["mAP@all:plain"].keys() == {0, 1, 2}


@pytest.mark.parametrize("protocol", ["standard", "sem-pcyc", "sketch-lvm", "clipprompt"])
def test_the_same_digits_as_bench_score(protocol: str, runner: CliRunner) -> None:
    np.savez("e.npz", **ARRAYS)
    scored = runner.invoke(app, ["score", "e.npz", "--protocol", protocol, "--seed", "5", "--format", "json"])
    assert scored.exit_code == 0, scored.stderr
    assert json.loads(scored.stdout) == {"schema": 1} | bench.evaluate(**ARRAYS, protocol=protocol, seed=5).to_dict()


def test_the_table_shows_each_figure_and_its_interval() -> None:
    result = bench.evaluate(**ARRAYS)
    for metric, value in result.scores.items():
        low, high = result.interval(metric).low, result.interval(metric).high
        assert re.search(rf"{metric} +{value:.4f}  {low:.3f} to {high:.3f}", result.table())
        assert f"<td>{metric}</td><td>{value:.4f}</td><td>{low:.3f} to {high:.3f}</td>" in result._repr_html_()
        assert low < result.score(f"{metric}@queries") < high


def test_queries_see_the_photos_of_their_group() -> None:
    query, gallery, labels = np.eye(2), np.eye(2)[[0, 1, 0, 1]], ["a", "b"]
    groups = (["left", "right"], ["left", "left", "right", "right"])
    result = bench.evaluate(query, gallery, labels, ["a", "b", "a", "b"], groups=groups, top=4)
    assert result.top is not None
    assert result.top.tolist() == [[0, 1, -1, -1], [3, 2, -1, -1]]


def test_a_matrix_of_scores_is_ranked_as_it_is() -> None:
    scores = DATA.query @ DATA.gallery.T
    ranking = rank(ScoreMatrix(scores, DATA.query_labels, DATA.gallery_labels), METRICS)
    labels = DATA.query_labels.astype(str), DATA.gallery_labels.astype(str)
    for matrix in (scores, scores.tolist(), torch.from_numpy(scores).requires_grad_()):
        result = bench.evaluate(scores=matrix, query_labels=labels[0], gallery_labels=labels[1], metrics=METRICS)
        assert result.scores["mAP@all:plain"] == ranking.score("mAP@all:plain").value
    assert "width" not in result.to_dict()


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "labels of another length": ({"query_labels": DATA.query_labels[:3]}, "query_labels"),
    "strings on one side": ({"gallery_labels": DATA.gallery_labels.astype(str)}, "gallery_labels"),
    "labels of floats": ({"gallery_labels": DATA.gallery_labels / 2}, "gallery_labels"),
    "labels of other objects": ({"query_labels": [None] * 60}, "query_labels"),
    "labels that mix kinds": ({"query_labels": ["1", 1] * 30, "gallery_labels": ["1"] * 400}, "query_labels"),
    "masked vectors": ({"query": np.ma.masked_greater(DATA.query, 1)}, "query"),
    "masked labels": ({"gallery_labels": np.ma.masked_equal(DATA.gallery_labels, 1)}, "gallery_labels"),
    "negative labels": ({"query_labels": -1 - DATA.query_labels}, "query_labels"),
    "missing labels": ({"gallery_labels": None}, "gallery_labels"),
    "text labels with two dimensions": ({"query_labels": [["a"]] * 60, "gallery_labels": ["a"] * 400}, "query_labels"),
    "NaN": ({"gallery": np.full((400, 8), np.nan)}, "gallery"),
    "empty": ({"query": []}, "query"),
    "ragged": ({"query": [[1.0], [1.0, 2.0]]}, "query"),
    "text for numbers": ({"gallery": np.full((400, 8), "x")}, "gallery"),
    "another width": ({"query": DATA.query[:, :5]}, "query"),
    "a sparse tensor": ({"query": torch.eye(60).to_sparse()}, "query"),
    "two devices": ({"query": torch.ones(60, 8), "gallery": torch.ones(400, 8, device="meta")}, "'gallery' is on meta"),
    "an unknown metric": ({"metrics": ["mAP@200:mean"]}, "mAP@200:mean"),
    "a metric that is no text": ({"metrics": [200]}, "metric"),
    "metrics that are no list": ({"metrics": 200}, "'metrics'"),
    "a protocol that is no text": ({"protocol": ["sake"]}, "'protocol'"),
    "no metric": ({"metrics": []}, "metrics"),
    "an unknown protocol": ({"protocol": "sakee"}, "'sake'"),
    "metrics and protocol": ({"metrics": ["P@5:k"], "protocol": "sake"}, "'protocol'"),
    "an unknown pairing": ({"pairing": "pairs"}, "pairing"),
    "all protocols": ({"protocol": "all"}, "protocol"),
    "photos that are no pairs": ({"pairing": "diagonal"}, "60|400"),
    "a negative seed": ({"seed": -1}, "seed"),
    "a part of a photo": ({"top": 1.5}, "top"),
    "an unknown distance": ({"distance": "cosin"}, "distance"),
    "an unknown device": ({"device": "gpu"}, "gpu"),
    "scores beside embeddings": ({"scores": np.ones((60, 400))}, "'query'"),
    "scores that cannot rank": ({"scores": [[np.nan] * 400] * 60, "query": None, "gallery": None}, "scores"),
    "scores of other photos": ({"scores": np.ones((60, 9)), "query": None, "gallery": None}, "gallery_labels"),
    "groups of one side": ({"groups": [1, 2, 3]}, "groups"),
    "groups of another length": ({"groups": ([1], [1] * 400)}, "query_groups"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_sentence_that_names_the_argument(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, named = MISTAKES[mistake]
    with pytest.raises(bench.BenchError, match=named if "|" in named else re.escape(named)) as error:
        bench.evaluate(**{**ARRAYS, **wrong})
    assert "\n" not in str(error.value)
    assert capsys.readouterr() == ("", "")


def test_an_interval_needs_a_metric_that_was_computed() -> None:
    result = bench.evaluate(**ARRAYS, metrics="P@5:k")
    for ask in (result.interval, result.score, result.values):
        with pytest.raises(bench.BenchError, match="P@5:k"):
            ask("P@6:k")


IMPORTS = """
import sys, time
begun = time.perf_counter()
import bench
assert time.perf_counter() - begun < 0.2 and "torch" not in sys.modules and "numpy" not in sys.modules
import datasets  # somebody else's
assert datasets.OWNER == "somebody else"
names = ["a", "b"]
result = bench.evaluate([[1, 0], [0, 1]], [[1, 0], [0, 1]], names, names)
assert bench.compare(result, result).points == 0
assert datasets.OWNER == sys.modules["datasets"].OWNER == "somebody else"
assert "torch" not in sys.modules and not any(name.startswith("bench.datasets") for name in sys.modules)
"""


def test_importing_is_fast_and_another_package_named_datasets_stays(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("OWNER = 'somebody else'\n")
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_public_name_is_importable_and_documented() -> None:
    for name in dir(bench):
        assert getattr(bench, name).__doc__, name
