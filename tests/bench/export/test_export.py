"""Exported networks, loaded by the programs that they were written for."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.emoji import Emoji
from bench.datasets.images.decode import decode, to_square
from bench.experiments.experiment import Resources
from bench.experiments.stored_run import load_embedder
from bench.export.card import describe_weights
from bench.io import write_tensors
from bench.results.models import RunRecord
from bench.results.store import Store
from tests.pictures import SMALL, words_of, write_folder

RUN = ("run", "--epochs", "0.5")
# Runs the code of the card where torch cannot be imported, on the pictures beside it.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
exec(open("card.py").read())
import pathlib
np.save("found.npy", np.concatenate([
    embed(sorted(pathlib.Path().glob("sketch-*")), "sketch"), embed(sorted(pathlib.Path().glob("photo-*")), "photo")
]))
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pictures = write_folder(tmp_path / "pictures")
    monkeypatch.setenv("BENCH_DATA_ROOT", str(pictures))  # a stored run has no paths
    return words_of(pictures, *SMALL)


def train(runner: CliRunner, words: list[str], method: str, *more: str) -> None:
    called = runner.invoke(app, [*RUN, "-m", method, *words, *more])
    assert called.exit_code == 0, called.stderr


def stored_run(tmp_path: Path, number: int = 1) -> RunRecord:
    store = Store(str(tmp_path / "bench.db"))
    run = store.run(number)
    store.close()
    return run


def write_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """Some sketches and photos as files."""
    dataset = Emoji(folder)
    split, written = dataset.split(), []
    for kind, items in (("sketch", split.queries[:9]), ("photo", split.gallery[:9])):
        paths = [folder / f"{kind}-{n}{Path(item.path).suffix}" for n, item in enumerate(items)]
        for path, item in zip(paths, items, strict=True):
            path.write_bytes(dataset.read(item.path))
        written.append(paths)
    return written[0], written[1]


@pytest.mark.parametrize(("method", "files"), [("ours", {"model.onnx"}), ("sake", {"sketch.onnx", "photo.onnx"})])
def test_the_code_of_the_card_embeds_as_the_run_does_without_torch(
    runner: CliRunner, words: list[str], tmp_path: Path, shared_cache: Path, method: str, files: set[str]
) -> None:
    train(runner, [*words, "--set", "test_size=64"], method)
    called = runner.invoke(app, ["export", "1", "--format", "onnx", "-o", "out"])
    assert called.exit_code == 0, called.stderr
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"README.md", "preprocessing.json", *files}
    pictures = write_pictures(out)
    (code,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), flags=re.DOTALL)
    (out / "card.py").write_text(code)
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    embedder = load_embedder(stored_run(tmp_path), Resources(tmp_path / "pictures", shared_cache, "cpu"))
    wanted = []
    for paths, is_photo in zip(pictures, (False, True), strict=True):
        pixels = [to_square(decode(path.read_bytes(), path.name), embedder.experiment.test_size) for path in paths]
        with torch.inference_mode():
            wanted.append(embedder.method.embed(torch.stack(pixels).float() / 255, is_photo).numpy())
    assert np.load(out / "found.npy") == pytest.approx(np.concatenate(wanted), abs=1e-4)


def test_a_safetensors_file_scores_as_its_run(runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    train(runner, words, "ours")
    called = runner.invoke(app, ["export", "1", "--format", "safetensors", "-o", "out"])
    assert called.exit_code == 0, called.stderr
    dataset = words[: words.index("image_size=32") - 1]
    settings = [
        each for pair in zip(dataset[::2], dataset[1::2], strict=True) for each in pair if pair[1] != "batch_size=16"
    ]
    scored = runner.invoke(app, ["run", "--checkpoint", "out/model.safetensors", *settings])
    assert scored.exit_code == 0, scored.stderr
    assert stored_run(tmp_path, 2).scores == stored_run(tmp_path, 1).scores


def test_a_hub_reads_the_card(runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    train(runner, words, "imagenet")
    called = runner.invoke(app, ["export", "1", "--format", "safetensors", "-o", "out"])
    assert called.exit_code == 0, called.stderr
    card, run = ModelCard.load(tmp_path / "out" / "README.md").data, stored_run(tmp_path)
    figures = {each.metric_type: each for each in card.eval_results}
    assert figures["mAP@all:plain"].metric_value == pytest.approx(run.value("mAP@all:plain"), abs=1e-4)
    assert figures["P@5:k"].dataset_split == run.split
    assert figures["P@5:k"].dataset_revision == run.fingerprint
    report = runner.invoke(app, ["report", "--format", "json", "--include-smoke"])
    (row,) = json.loads(report.stdout)["tables"][0]["rows"]
    low, high = figures["mAP@all:plain"].metric_args["interval_95"]
    assert [row["interval_95_low"], row["interval_95_high"]] == pytest.approx([low, high], abs=1e-4)


def test_a_file_that_embeds_otherwise_is_removed(
    runner: CliRunner, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(runner, words, "softmax")
    monkeypatch.setattr(
        "bench.export.safetensors.write_tensors",
        lambda path, tensors, facts: write_tensors(path, {name: each.flip(0) for name, each in tensors.items()}, facts),
    )
    called = runner.invoke(app, ["export", "1", "--format", "safetensors", "-o", "out"])
    assert called.exit_code == 7
    assert "otherwise" in called.stderr
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_on_a_full_disk_nothing_is_left(form: str, runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    train(runner, words, "imagenet")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))  # as a full disk: a larger file is an OSError
    try:
        called = runner.invoke(app, ["export", "1", "--format", form, "-o", "out"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (called.exit_code, "cannot be written" in called.stderr) == (6, True)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_run_of_half_precision_is_refused_as_onnx(runner: CliRunner, words: list[str], tmp_path: Path) -> None:
    train(runner, words, "imagenet", "--precision", "bf16")
    called = runner.invoke(app, ["export", "1", "--format", "onnx", "-o", "out"])
    assert (called.exit_code, "bf16" in called.stderr) == (7, True)
    assert not (tmp_path / "out").exists()
    called = runner.invoke(app, ["export", "1", "--format", "safetensors", "-o", "out"])
    assert called.exit_code == 0, called.stderr


def test_what_has_no_network_and_a_folder_in_use_are_refused(
    runner: CliRunner, words: list[str], tmp_path: Path
) -> None:
    train(runner, words, "hog")
    refused = runner.invoke(app, ["export", "1", "--format", "safetensors", "-o", "out"])
    assert (refused.exit_code, "no network" in refused.stderr) == (2, True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    refused = runner.invoke(app, ["export", "1", "--format", "safetensors", "-o", "out"])
    assert (refused.exit_code, "exists" in refused.stderr) == (2, True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("backbone", "weights", "named"),
    [
        ("tf_efficientnet_lite0", "", "ImageNet weights of tf_efficientnet_lite0, Apache-2.0"),
        ("tf_efficientnet_lite0", "sha256:57934424ab", "ImageNet weights of tf_efficientnet_lite0, Apache-2.0"),
        (
            "tf_efficientnet_lite0",
            "sha256:0123456789",
            "a file with SHA-256 0123456789, whose licence is not",
        ),
        ("resnet50", "sha256:11ad3fa6cd", "torchvision's resnet50-11ad3fa6.pth, BSD-3-Clause"),
        ("resnet50", "none", "random"),
    ],
)
def test_the_card_claims_a_licence_of_published_weights_alone(backbone: str, weights: str, named: str) -> None:
    run = SimpleNamespace(configuration={"run": {"backbone": backbone, "weights": weights}})
    assert describe_weights(run).startswith(named)  # type: ignore[arg-type]


def test_a_missing_package_is_named(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    called = runner.invoke(app, ["export", "1", "--format", "onnx", "-o", "out"])
    assert called.exit_code == 7
    assert "pip install '.[onnx]'" in called.stderr
