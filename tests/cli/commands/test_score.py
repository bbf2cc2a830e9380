"""`bench score` as its users meet it: files, protocols, JSON, and every mistake."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from bench.cli.main import app
from bench.embeddings.arrays import ScoreMatrix
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.protocol_scores import every_protocol
from bench.evaluation.ranking import rank
from tests.bench.evaluation.clouds import clouds

EMBEDDINGS = clouds(queries=60, photos=400, width=8)
ARRAYS: dict[str, npt.NDArray[Any]] = {
    "query": EMBEDDINGS.query,
    "gallery": EMBEDDINGS.gallery,
    "query_labels": EMBEDDINGS.query_labels,
    "gallery_labels": EMBEDDINGS.gallery_labels,
}


@pytest.fixture
def file(runner: CliRunner) -> str:
    """An embeddings file in the folder that ``runner`` has made the current one; 2 of 60 queries have no photo."""
    np.savez("e.npz", **ARRAYS)  # type: ignore[arg-type]
    return "e.npz"


def scored(runner: CliRunner, *arguments: str) -> dict[str, Any]:
    result = runner.invoke(app, ["score", *arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_every_definition_under_both_means_by_default(runner: CliRunner, file: str) -> None:
    found = scored(runner, file)
    assert {name: found[name] for name in ("queries", "photos", "width", "classes")} == {
        "queries": 60,
        "photos": 400,
        "width": 8,
        "classes": 10,
    }
    expected = [(metric, average) for metric in DEFAULT_METRICS for average in ("queries", "classes")]
    assert [(each["metric"], each["average"]) for each in found["scores"]] == expected
    ranking = rank(EMBEDDINGS, DEFAULT_METRICS)
    for each in found["scores"]:
        assert each["value"] == ranking.score(each["metric"], each["average"]).value
        assert (each["queries"], each["skipped"], each["distance"]) == (60, 2, "cosine")
        assert "protocol" not in each
        assert "tied" not in each


def test_clusters_and_groups_of_a_file_count(runner: CliRunner) -> None:
    marks = {
        "query_groups": np.arange(60) % 3,
        "gallery_groups": np.arange(400) % 2,
        "query_clusters": np.arange(60) % 4,
    }
    np.savez("e.npz", **ARRAYS, **marks)  # type: ignore[arg-type]
    found = scored(runner, "e.npz", "--metric", "mAP@all:plain@classes")
    expected = rank(dataclasses.replace(EMBEDDINGS, **marks), ["mAP@all:plain"]).score("mAP@all:plain", "classes")
    assert found["classes"] == 4
    assert found["scores"][0]["value"] == expected.value
    assert found["scores"][0]["skipped"] == expected.skipped >= 20  # a third of the queries see no photo
    assert scored(runner, "e.npz", "--metric", "mAP@all:plain@classes", "--to-shards", "shards") == found
    assert scored(runner, "shards", "--metric", "mAP@all:plain@classes") == found


def test_safetensors_gives_the_same(runner: CliRunner, file: str) -> None:
    save_file(ARRAYS, "e.safetensors")
    assert scored(runner, "e.safetensors") == scored(runner, file)


def test_the_table_holds_the_same_figures_and_nothing_else(runner: CliRunner, file: str) -> None:
    result = runner.invoke(app, ["score", file])
    assert result.exit_code == 0
    assert f"{rank(EMBEDDINGS, ['mAP@200:min']).score('mAP@200:min', 'classes').value:.4f}" in result.stdout
    assert all(metric in result.stdout for metric in DEFAULT_METRICS)
    assert "scoring" not in result.stdout
    assert "2 of 60 queries have no relevant photo: left out of means." in result.stderr
    assert "Labels of both sides" not in result.stderr


def test_labels_that_never_meet_are_named(runner: CliRunner) -> None:
    np.savez("apart.npz", **{**ARRAYS, "query_labels": ARRAYS["query_labels"] + 1000})
    assert "Labels of both sides must number the same classes." in runner.invoke(app, ["score", "apart.npz"]).stderr


@pytest.mark.parametrize(("side", "what"), [("gallery", "photos"), ("query", "queries")])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_equal_embeddings_are_a_warning_beside_the_figures(
    side: str, what: str, distance: str, runner: CliRunner
) -> None:
    noise = 1e-9 * np.random.default_rng(0).standard_normal(ARRAYS[side].shape)
    np.savez("e.npz", **{**ARRAYS, side: np.full_like(ARRAYS[side], 0.3) + noise})  # type: ignore[arg-type]
    words = ["score", "e.npz", "--metric", "P@5:k", "--distance", distance]
    result = runner.invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert f"WARNING: All {what} have the same embedding" in result.stderr
    assert len(scored(runner, *words[1:])["warnings"]) == 1


def test_all_protocols(runner: CliRunner, file: str) -> None:
    found = scored(runner, file, "--protocol", "all")["scores"]
    asked = [(each.name, text) for each in every_protocol() if each.name != "sake" for text in each.metrics]
    assert [(each["protocol"], f"{each['metric']}@{each['average']}") for each in found] == asked
    assert {each["skipped"] for each in found if each["protocol"] == "clipprompt"} == {0}
    assert {each["distance"] for each in found if each["protocol"] == "sem-pcyc"} == {"euclidean"}
    table = runner.invoke(app, ["score", file, "--protocol", "all"])
    assert all(name in table.stdout for name in ("clipprompt", "tcn-cvpr19", "P@200:index"))
    assert "and count as 0 in clipprompt, coprompt, doodle2search, icfrr" in table.stderr


def test_protocols_and_metrics_together(runner: CliRunner, file: str) -> None:
    call = [file, "--protocol", "tcn", "--protocol", "tcn", "--metric", "P@10:k@classes", "--metric", "mAP@7:min"]
    found = scored(runner, *call)["scores"]
    assert [(each.get("protocol"), each["metric"], each["average"]) for each in found] == [
        ("tcn", "mAP@all:voc", "classes"),
        ("tcn", "mAP@200:voc-min", "classes"),
        ("tcn", "P@100:k", "classes"),
        ("tcn", "P@200:k", "classes"),
        (None, "P@10:k", "classes"),
        (None, "mAP@7:min", "queries"),
    ]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, save_file], ids=["mapped", "compressed", "tensors"])
def test_a_matrix_of_scores(runner: CliRunner, save: Callable[..., None]) -> None:
    scores = np.random.default_rng(0).standard_normal((60, 400)).astype(np.float64)
    labels = {name: array for name, array in ARRAYS.items() if "labels" in name}
    if save is save_file:
        save({"scores": scores, **labels}, "scores")
    else:
        save("scores.npz", scores=scores, **labels)
    path = "scores" if save is save_file else "scores.npz"
    found = scored(runner, path, "--protocol", "clipprompt", "--metric", "P@1:k")
    matrix = ScoreMatrix(scores, EMBEDDINGS.query_labels, EMBEDDINGS.gallery_labels)
    assert found["scores"][-1]["value"] == rank(matrix, ["P@1:k"]).score("P@1:k").value
    assert {each["distance"] for each in found["scores"]} == {"scores"}
    assert (found["queries"], found["photos"]) == (60, 400)
    refused = runner.invoke(app, ["score", path, "--protocol", "dsn-itq"])
    assert (refused.exit_code, "binary codes" in refused.stderr) == (2, True)


def test_both_scores_and_embeddings(runner: CliRunner) -> None:
    np.savez("e.npz", **ARRAYS, scores=np.ones((60, 400)))  # type: ignore[arg-type]
    result = runner.invoke(app, ["score", "e.npz"])
    assert result.exit_code == 3
    assert "give one of them" in result.stderr


def test_another_gallery_than_the_protocols(runner: CliRunner, file: str) -> None:
    paired = scored(runner, file, "--metric", "mAP@all:plain", "--gallery", "paired")["scores"][0]
    own = scored(runner, file, "--protocol", "sketch-lvm")["scores"][0]
    assert paired["value"] == pytest.approx(own["value"] * 60 / 58)  # where queries without photo count 0
    result = runner.invoke(app, ["score", file, "--gallery", "diagonal"])
    assert result.exit_code == 3
    assert "photo i for query i" in result.stderr


def test_a_distance_holds_for_protocols_too_and_is_named(runner: CliRunner, file: str) -> None:
    found = scored(runner, file, "--protocol", "standard", "--distance", "euclidean")["scores"]
    assert {each["distance"] for each in found} == {"euclidean"}
    by_raw = rank(EMBEDDINGS, ["mAP@all:plain"], distance="euclidean").score("mAP@all:plain").value
    assert found[0]["value"] == by_raw


def test_binary_codes_come_with_their_bounds(runner: CliRunner) -> None:
    codes = {name: array > 0 if "labels" not in name else array for name, array in ARRAYS.items()}
    np.savez("bits.npz", **codes)  # type: ignore[arg-type]
    found = scored(runner, "bits.npz", "--distance", "hamming")["scores"]
    tied = {each["average"]: each["value"] for each in found if each["metric"] == "mAP@all:tied"}
    for each in found:
        if not each["metric"].endswith((":hits", ":index")):  # which a better ranking can lower
            assert each["pessimistic"] <= each["value"] <= each["optimistic"]
        assert each["tied"] == (tied[each["average"]] if each["metric"].startswith("mAP@all") else None)
    assert found[0]["pessimistic"] < found[0]["tied"] < found[0]["optimistic"]
    table = runner.invoke(app, ["score", "bits.npz", "--distance", "hamming", "--protocol", "standard"])
    assert all(word in table.stdout for word in ("pessimistic", "optimistic", "mAP@all:tied"))
    assert "gallery position" in table.stderr


def test_codes_that_a_protocol_makes_are_its_own(runner: CliRunner, file: str) -> None:
    found = scored(runner, file, "--protocol", "dsn-itq", "--seed", "3")["scores"]
    assert {each["distance"] for each in found} == {"hamming"}
    assert scored(runner, file, "--protocol", "dsn-itq", "--seed", "3")["scores"] == found
    result = runner.invoke(app, ["score", file, "--protocol", "dsn-itq", "--distance", "cosine"])
    assert result.exit_code == 2
    assert "leave --distance out" in result.stderr


def test_a_seed_draws_the_paired_gallery(runner: CliRunner, file: str) -> None:
    values = [scored(runner, file, "--protocol", "sketch-lvm", "--seed", seed)["scores"][0]["value"] for seed in "001"]
    assert values[0] == values[1] != values[2]


def test_no_value_is_null(runner: CliRunner) -> None:
    np.savez("e.npz", **{**ARRAYS, "query_labels": ARRAYS["query_labels"] + 1000})  # type: ignore[arg-type]
    found = scored(runner, "e.npz", "--metric", "P@5:k")["scores"][0]
    assert (found["value"], found["skipped"]) == (None, 60)
    assert "\t-\n" in runner.invoke(app, ["score", "e.npz", "--metric", "P@5:k"]).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.npz"], 3, "Embeddings file none.npz cannot be read (No such file"),
        (["."], 3, "Folder . has no readable shards.json"),
        (["text.npz"], 3, "is neither .npz nor .safetensors"),
        (["nan.npz"], 3, "Array 'gallery' holds NaN or infinity, first in row 7"),
        (["both.npz"], 3, "Array 'gallery' holds NaN or infinity, first in row 0"),
        (["pickle.npz"], 3, "Array 'query' of pickle.npz holds pickled objects, which are never loaded"),
        (["e.npz", "--protocol", "sakes"], 2, "There is no protocol 'sakes'. Did you mean 'sake'?"),
        (["e.npz", "--metric", "mAP@200"], 2, "without its definition: choose mAP@200:all, mAP@200:hits, "),
        (["e.npz", "--metric", "P@0:k"], 2, "must be a number from 1"),
        (["e.npz", "--distance", "hamming"], 3, "Array 'query' is no binary code"),
        (["e.npz", "--device", "cuda:9"], 2, "Device 'cuda:9' cannot be used here"),
        (["e.npz", "--as", "x"], 2, "--as NAME stores a run of a dataset: name it with -d."),
        (["e.npz", "--as", "ours", "-d", "emoji"], 2, "--as ours is a method"),
        (["e.npz", "--unverified", "-d", "emoji"], 2, "name the method with --as"),
        (["e.npz", "--split", "emoji-93"], 2, "name it with -d"),
        (["e.npz", "--as", "x", "-d", "emoij"], 2, "There is no dataset 'emoij'. Did you mean 'emoji'?"),
        (["e.npz", "--as", "x", "-d", "emoji", "--split", "e"], 2, "has no split 'e'"),
        (["e.npz", "--as", "x", "-d", "emoji"], 3, "The embeddings have 10 classes, split emoji-93 of emoji"),
        (
            ["e.npz", "--as", "x", "-d", "tuberlin"],
            3,
            "split tuberlin-30 of tuberlin (gallery full) as published has 30",
        ),
        (["e.npz", "--as", "x", "-d", "emoji", "--unverified", "--store", "no/x.db"], 6, "does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_its_exit_code(
    arguments: list[str], code: int, message: str, runner: CliRunner, file: str
) -> None:
    Path("text.npz").write_text("query")
    gallery = ARRAYS["gallery"].copy()
    gallery[7, 0] = np.nan
    np.savez("nan.npz", **{**ARRAYS, "gallery": gallery})  # type: ignore[arg-type]
    gallery[:2, 0] = np.inf, -np.inf
    np.savez("both.npz", **{**ARRAYS, "gallery": gallery})  # type: ignore[arg-type]
    np.savez("pickle.npz", **{**ARRAYS, "query": ARRAYS["query"].astype(object)})  # type: ignore[arg-type]
    result = runner.invoke(app, ["score", *arguments])
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert result.stdout == ""


def test_arrays_larger_than_memory(runner: CliRunner, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 3.00 TiB")

    monkeypatch.setattr("numpy.load", exhausted)
    result = runner.invoke(app, ["score", file])
    assert result.exit_code == 5
    assert "does not fit into memory (Unable to allocate 3.00 TiB)" in result.stderr
