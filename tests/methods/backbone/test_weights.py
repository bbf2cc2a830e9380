"""Weights files: which one is the default, what is checked before one is read, and what may lack in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from bench.errors import LoadingError
from bench.io import file_digest
from bench.methods.backbone import published_weights
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import PACKAGED, PUBLISHED, Published, default_file, find_by_hash
from bench.methods.backbone.weights import load_weights, verified_hash


@pytest.fixture
def torchs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch keeps fetched weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def saved(folder: Path, name: str, seed: int = 0) -> Path:
    """Random weights of a small network in a file that is named by their hash, as published ones are."""
    torch.manual_seed(seed)
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "x")
    digest = hashlib.sha256((folder / "x").read_bytes()).hexdigest()
    return (folder / "x").rename(folder / f"{name}-{digest[:8]}.pth")


@pytest.mark.parametrize("name", PUBLISHED)
def test_known_files_are_those_of_torchvision_and_fit_timm(name: str) -> None:
    table = {each.url.rpartition("/")[2]: each for each in torchvision.models.get_model_weights(name)}
    for each in PUBLISHED[name]:
        theirs = table.pop(each.file)
        assert each.mebibytes == theirs.meta["_file_size"]
    assert not table
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name).state_dict(), timm.create_model(name).state_dict()
    assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in ours.items()}


def test_the_default_is_the_first_known_file_that_exists(torchs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_file("test_resnet") is None
    assert default_file("resnet50") is None
    first, second = saved(torchs_folder, "one", 0), saved(torchs_folder, "two", 1)
    known = tuple(Published(each.name, each.stat().st_size / 2**20) for each in (first, second))
    monkeypatch.setattr(published_weights, "PUBLISHED", {"test_resnet": known})
    assert default_file("test_resnet") == first
    assert Backbone("test_resnet").weights_hash == file_digest(first)
    assert find_by_hash("test_resnet", file_digest(second)) == second
    second.write_bytes(b"other")
    assert find_by_hash("test_resnet", file_digest(first)[:8] + "0" * 56) is None
    first.unlink()
    assert default_file("test_resnet") == second
    with pytest.raises(LoadingError, match=r"two-.*\.pth is truncated \(0\.0 of 1\.\d MiB\): download"):
        Backbone("test_resnet")


def test_a_file_must_have_the_hash_of_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path, "mine")
    whole = path.read_bytes()
    assert verified_hash(path) == hashlib.sha256(whole).hexdigest()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(LoadingError, match="does not have the hash in its name"):
        load_weights(timm.create_model("test_resnet"), "test_resnet", str(path))
    named = path.rename(tmp_path / "mine.pth")
    assert verified_hash(named) == file_digest(named)  # a name without digits promises nothing


def test_the_error_for_missing_weights_names_file_and_folder(torchs_folder: Path) -> None:
    with pytest.raises(LoadingError) as caught:
        Backbone("resnet50")
    assert str(caught.value) == (
        "No ImageNet weights of 'resnet50' are on this machine: run `bench weights get resnet50`, put "
        f"torchvision's resnet50-0676ba61.pth into {torchs_folder}, give a file by --weights "
        f"FILE, random ones by --weights none, or choose --backbone {PACKAGED}, whose weights come with the project."
    )


@pytest.mark.parametrize("counters", [True, False])
def test_torchvisions_network_is_timms_also_in_files_without_counters(counters: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.1, 0.1)
    state = {key: value for key, value in theirs.state_dict().items() if counters or "num_batches" not in key}
    assert any("num_batches" in key for key in state) == counters
    torch.save(state, tmp_path / "old.pth")
    network = timm.create_model("resnet50").eval()
    load_weights(network, "resnet50", str(tmp_path / "old.pth"))
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(network(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(1) or digest(*given))
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert file_digest(path) == file_digest(path) == hashlib.sha256(b"one").hexdigest()
    assert len(read) == 1
    path.write_bytes(b"three")
    assert file_digest(path) == hashlib.sha256(b"three").hexdigest()
    assert len(read) == 2
