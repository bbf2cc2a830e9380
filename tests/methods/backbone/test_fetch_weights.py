"""Weights are downloaded from a local server into the folders of torchvision and timm, and then used by default."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.fetch_weights import fetch_weights
from bench.methods.backbone.published_weights import CLIP, default_file, find_by_hash, folder
from tests.weights_server import NAME, Server, content, publish, server

__all__ = ["content", "server"]  # fixtures


def get(runner: CliRunner) -> tuple[int, str, str]:
    done = runner.invoke(app, ["-q", "weights", "get", NAME])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("torchvision", [False, True])
def test_downloaded_weights_are_the_default(
    torchvision: bool, server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torchvision:
        publish(content, monkeypatch)
    assert default_file(NAME) is None
    code, printed, error = get(runner)
    assert code == 0, error
    path = default_file(NAME)
    assert printed == f"{NAME}\t{path}\n"
    assert path is not None
    assert path.read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()
    assert Backbone(NAME).weights_hash == digest
    assert find_by_hash(NAME, digest) == path
    before = server.sent
    assert get(runner)[:2] == (code, printed)
    assert server.sent == before  # nothing is downloaded twice


@pytest.mark.parametrize("torchvision", [False, True])
def test_a_broken_download_goes_on(
    torchvision: bool, server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torchvision:
        publish(content, monkeypatch)
    server.broken = True
    assert get(runner)[0] == 0
    path = default_file(NAME)
    assert path is not None
    assert path.read_bytes() == content
    assert server.sent == len(content) or not torchvision  # no byte twice


def test_a_killed_download_goes_on(
    server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(content, monkeypatch)
    part = folder() / f"{file}.part"
    for left in (1000, 0):  # also one that was killed before the last renaming
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content[: len(content) - left])
        server.sent = 0
        code, _, error = get(runner)
        assert (code, server.sent) == (0, left), error
        path = default_file(NAME)
        assert path is not None
        assert path.read_bytes() == content
        path.unlink()
        assert not part.exists()


def test_a_part_of_another_file_is_thrown_away(
    server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(content, monkeypatch)
    folder().mkdir(parents=True)
    (folder() / f"{file}.part").write_bytes(b"?" * 1000)
    assert get(runner)[0] == 7
    assert get(runner)[0] == 0


def test_a_file_with_another_hash_is_refused(
    server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(content, monkeypatch)
    server.content = content[:-1] + b"!"
    code, _, error = get(runner)
    assert (code, "does not have the hash" in error, error.count("\n")) == (7, True, 1)
    assert default_file(NAME) is None


def test_a_file_from_hugging_face_must_have_the_hash_that_the_server_states(
    server: Server, content: bytes, runner: CliRunner
) -> None:
    server.content = content[:-1] + b"!"
    code, _, error = get(runner)
    assert (code, "does not have the hash" in error, error.count("\n")) == (7, True, 1)
    assert default_file(NAME) is None


def test_failures_are_one_sentence(
    server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(content, monkeypatch)
    server.status = 404
    code, _, error = get(runner)
    assert (code, "HTTP Error 404" in error, error.count("\n")) == (7, True, 1)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE forbids" in get(runner)[2]
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name, code, message in (
        ("vit_nothing", 2, "no backbone 'vit_nothing'"),
        ("botnet50ts_256", 7, "published by timm"),
    ):
        done = runner.invoke(app, ["weights", "get", name])
        assert (done.exit_code, message in done.stderr) == (code, True), done.stderr


def test_the_list_has_source_size_licence_and_file(runner: CliRunner) -> None:
    rows = json.loads(runner.invoke(app, ["weights", "list", "--format", "json"]).stdout)["weights"]
    found = {row["backbone"]: row for row in rows}
    assert (found["resnet50"]["source"], found["resnet50"]["megabytes"]) == ("torchvision", 102.5)
    assert found["resnet50"]["file"] is None
    assert Path(found["tf_efficientnet_lite0"]["file"]).is_file()
    assert {name: found[name]["source"] for name in CLIP} == {k: f"huggingface.co/{v}" for k, v in CLIP.items()}
    (row,) = json.loads(runner.invoke(app, ["weights", "list", "convnext_tiny", "--format", "json"]).stdout)["weights"]
    assert row["source"].startswith("huggingface.co/timm/convnext_tiny")
    assert row["licence"] == "apache-2.0"
    assert runner.invoke(app, ["weights", "list", "convnext_tinny"]).exit_code == 2


def test_open_clip_finds_the_weights_that_were_downloaded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained = pytest.importorskip("open_clip.pretrained")
    path = fetch_weights("vit_base_patch32_clip_quickgelu_224", progress=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # its own loader, without a network
    theirs = pretrained.download_pretrained(pretrained.get_pretrained_cfg("ViT-B-32-quickgelu", "openai"))
    assert Path(theirs).resolve() == path.resolve()
