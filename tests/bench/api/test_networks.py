"""``bench.load_network``: a plain module that embeds as the run did, without dataset and store."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from bench.datasets.images.decode import decode, ink_to_square
from bench.training.trained_networks import find_network
from tests.bench.api.test_runs import SMALL
from tests.pictures import write_folder


def embed(network: bench.Network, split: bench.LoadedSplit) -> dict[str, Any]:
    sides = {"query": ("queries", network.embed_sketches), "gallery": ("gallery", network.embed_photos)}
    found: dict[str, Any] = {}
    for side, (role, function) in sides.items():
        batches = DataLoader(split.torch_dataset(role, network.preprocess), batch_size=64)  # type: ignore[arg-type]
        with torch.inference_mode():
            parts = [(function(images), labels) for images, labels in batches]
        found[side], found[f"{side}_labels"] = (torch.cat(part) for part in zip(*parts, strict=True))
    return found


@pytest.mark.parametrize(
    ("method", "settings"),
    [("softmax", {"test_size": 40, "test_mirror": True}), ("imagenet", {}), ("hog", {"test_mirror": True})],
)
def test_run_evaluate_and_score_give_the_same_digits(method: str, settings: dict[str, Any], runner: CliRunner) -> None:
    run = bench.run(method, quiet=True, **SMALL, **settings)
    network = bench.load_network(run.number)
    arrays = embed(network, bench.load_split("emoji").limited(2))
    result = bench.evaluate(**arrays)
    assert result.scores == {metric: run.scores[metric] for metric in result.scores}
    assert bench.compare(run, result).points == 0
    np.savez("e.npz", **{name: tensor.numpy() for name, tensor in arrays.items()})
    scored = json.loads(runner.invoke(app, ["score", "e.npz", "--protocol", "standard", "--format", "json"]).stdout)
    assert {each["metric"]: each["value"] for each in scored["scores"]} == result.scores


def test_it_is_a_plain_module_on_its_own(shared_cache: Path) -> None:
    run = bench.run("softmax", quiet=True, **SMALL)
    Path("bench.db").unlink()
    before = torch.random.get_rng_state()
    network = bench.load_network(run)
    assert (torch.random.get_rng_state() == before).all()
    assert isinstance(network, torch.nn.Module)
    assert not network.training
    images = torch.rand(2, 3, 32, 32)
    photos = network.embed_photos(images)
    assert (photos.dtype, photos.shape, photos.requires_grad) == (torch.float32, (2, 256), True)  # test_efficientnet's
    torch.save(network.state_dict(), "state.pt")
    network.load_state_dict(torch.load("state.pt", weights_only=True))
    file = find_network(run.record, shared_cache)
    assert torch.equal(bench.load_network(file).embed_photos(images), photos)


def test_an_exported_file_is_the_same_network(runner: CliRunner) -> None:
    run = bench.run("softmax", quiet=True, **SMALL, test_size=40, test_mirror=True)
    exported = runner.invoke(app, ["export", str(run.number), "--format", "safetensors", "-o", "out"])
    assert exported.exit_code == 0, exported.stderr
    images = torch.rand(2, 3, 40, 40)
    same, own = bench.load_network("out/model.safetensors"), bench.load_network(run)
    assert torch.equal(same.embed_sketches(images), own.embed_sketches(images))
    assert same.preprocess == own.preprocess
    assert same.preprocess.size == 40


def test_pictures_paths_and_bytes_are_preprocessed_alike() -> None:
    network = bench.load_network(bench.run("imagenet", quiet=True, **SMALL))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 4), dtype=np.uint8), "RGBA")
    picture.save("picture.png")
    tensor = network.preprocess(picture)
    assert (tensor.shape, tensor.dtype) == ((3, 32, 32), torch.float32)
    assert 0 <= float(tensor.min()) < float(tensor.max()) <= 1
    data = io.BytesIO()
    picture.save(data, "png")
    for same in ("picture.png", Path("picture.png"), data.getvalue()):
        assert torch.equal(network.preprocess(same), tensor)


def test_sketches_are_cropped_where_the_run_cropped_them(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine", classes=6, images=2)
    small = {"batch_size": 8, "per_class": 1, "epochs": 0.1, "image_size": 32, "backbone": "tf_efficientnet_lite0"}
    run = bench.run("softmax", "folder", root=root, draw=2, ink_crop=True, device="cpu", quiet=True, **small)
    network = bench.load_network(run)
    sketch = next((root / "sketch").rglob("*.*"))
    expected = ink_to_square(decode(sketch.read_bytes(), "sketch"), 32) / 255
    assert torch.equal(network.preprocess(sketch, sketch=True), expected)
    assert not torch.equal(network.preprocess(sketch), expected)


def test_a_missing_network_or_picture_is_a_sentence(tmp_path: Path) -> None:
    run = bench.run("softmax", quiet=True, **SMALL)
    for wrong in (lambda: bench.load_network(run, cache_dir=tmp_path / "empty"), lambda: bench.load_network("no.file")):
        with pytest.raises(bench.BenchError, match=r"train it again|no\.file"):
            wrong()
    network = bench.load_network(run)
    for image in ("no.png", b"no picture"):
        with pytest.raises(bench.BenchError, match=r"no\.png|bytes"):
            network.preprocess(image)
    pixels = torch.zeros(1, 3, 32, 32)
    for images in (pixels[0], pixels.byte(), pixels[:, :1], pixels.numpy()):
        with pytest.raises(bench.BenchError, match="'images'"):
            network.embed_photos(images)
