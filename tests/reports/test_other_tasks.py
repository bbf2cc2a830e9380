"""Reports of fine-grained runs and of networks tested on other datasets, from real runs on a few pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.emoji import Emoji
from tests.pictures import words_of, write_folder

PLACES = ("--store", "bench.db", "--cache-dir", "cache", "-q")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``bench.db``: a network that is tested on emoji, too, and ``hog`` on both readings of instances."""
    folder = tmp_path_factory.mktemp("tasks")
    pictures = write_folder(folder / "pictures")
    instances = folder / "instances"
    for photo in sorted(pictures.glob("photo/*/*")):
        name = photo.relative_to(pictures / "photo")
        (instances / "photo" / name.parent).mkdir(parents=True, exist_ok=True)
        (instances / "photo" / name).write_bytes(photo.read_bytes())
        sketch = instances / "sketch" / name.parent / f"{name.stem}-1{photo.suffix}"  # the photo itself: rank 1
        sketch.parent.mkdir(parents=True, exist_ok=True)
        sketch.write_bytes(photo.read_bytes())
    small = words_of(pictures, "--epochs", "0.5")
    call(folder, "run", "-m", "softmax", "-m", "hog", *small, "--test-on", "emoji", "--test-on", "tuberlin", code=4)
    for split in ("folder-fine", "folder-fine-all"):
        call(folder, "run", "-m", "hog", *words_of(instances, "--split", split))
    return folder


def call(folder: Path, *words: str, code: int = 0) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(app, [*PLACES, *words])
    assert result.exit_code == code, result.output
    return result.output


def tables(folder: Path, kind: str, *more: str) -> list[Any]:
    return list(json.loads(call(folder, "report", "--kind", kind, "--format", "json", *more))["tables"])


def test_a_network_is_trained_once_and_stands_in_a_column_for_each_test_set(stored: Path) -> None:
    (table,) = tables(stored, "cross-dataset")
    text = call(stored, "report", "--kind", "cross-dataset")
    assert "emoji emoji-93: mAP@all:plain" in text
    assert "not zero-shot" in text  # emoji has classes of the folder
    assert len(table["rows"]) == 2  # softmax and hog, each with both test sets
    assert not any(
        cell in ("-", None) for row in table["rows"] for cell in (row.values() if isinstance(row, dict) else row)
    )


def test_a_test_dataset_that_is_missing_is_one_sentence(stored: Path) -> None:
    text = call(stored, "run", "-m", "hog", *words_of(stored / "pictures"), "--test-on", "tuberlin", code=4)
    assert "--test-on tuberlin is left out" in text
    assert "1 of 2 runs failed" in text


def test_both_readings_of_a_fine_grained_split_have_tables_of_their_own(stored: Path) -> None:
    text = call(stored, "report", "--kind", "fine-grained")
    assert text.count("protocol fine-grained") == 2
    assert text.count("| hog ") == 2
    assert "1.000" in text
    assert "by chance acc@1 is 0.333" in text  # three photos of each class
    assert "by chance acc@1 is 0.083" in text  # twelve in all
    assert text.count("not zero-shot") == 0


def test_runs_by_class_and_fine_grained_runs_share_no_table(stored: Path) -> None:
    assert "fine-grained" not in call(stored, "report", "--kind", "main")
    assert "protocol hicropl-fg" in call(stored, "report", "--kind", "fine-grained", "--protocol", "hicropl-fg")
    assert "splits by class" in call(stored, "report", "--kind", "fine-grained", "--protocol", "sake", code=2)
    assert "fine-grained splits" in call(stored, "report", "--kind", "main", "--protocol", "hicropl-fg", code=2)


def test_the_html_gallery_gives_the_rank_of_the_true_photo(stored: Path) -> None:
    page = call(stored, "--data-root", str(stored / "instances"), "report", "--kind", "gallery", "--format", "html")
    assert "true photo at rank 1<" in page
    assert "rank of the true photo" in call(stored, "report", "--kind", "gallery")


def test_a_query_of_a_fine_grained_run_names_instances(stored: Path) -> None:
    (sketch, *_) = sorted(stored.glob("instances/sketch/*/*"))
    runs = json.loads(call(stored, "list", "runs", "--format", "json"))["runs"]
    number = next(str(run["run"]) for run in runs if run["split"].endswith("-fine"))
    words = ("query", number, str(sketch), "-k", "2", "--format", "json")
    (best, _) = json.loads(call(stored, "--data-root", str(stored / "instances"), *words))["photos"]
    assert best["instance"] == Path(best["path"]).stem


def test_embeddings_of_a_fine_grained_split_are_stored_by_their_paths(stored: Path, tmp_path: Path) -> None:
    split = Emoji(tmp_path).split("emoji-93-fine")
    arrays, width = split.label_arrays(), len(split.gallery)
    query, gallery = np.eye(width)[arrays["query_labels"]], np.eye(width)
    paths = {
        "query_paths": [item.path for item in split.queries],
        "gallery_paths": [item.path for item in split.gallery],
    }
    labels = {name: arrays[name] for name in ("query_labels", "gallery_labels")}
    np.savez(stored / "own.npz", query=query, gallery=gallery, **labels, **paths)
    words = ("score", "own.npz", "--as", "mine", "-d", "emoji", "--protocol", "fine-grained", "--split")
    assert "acc@1\t1.0000\t1.0000" in call(stored, *words, split.name)
    assert "| mine (external) " in call(stored, "report", "--kind", "fine-grained", "--split", split.name)
    assert "names no instances" in call(stored, *words, "emoji-93", code=2)
