"""Weights are downloaded from a local server into the folders of torchvision and timm, and then used by default."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import default_file, find_by_hash
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


def test_a_download_from_hugging_face_survives_a_broken_connection(
    server: Server, content: bytes, runner: CliRunner
) -> None:
    server.broken = True
    assert get(runner)[0] == 0
    path = default_file(NAME)
    assert path is not None
    assert path.read_bytes() == content


def test_a_file_with_another_hash_is_refused(
    server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(content, monkeypatch)
    server.content = content[:-1] + b"!"
    code, _, error = get(runner)
    assert (code, "invalid hash value" in error, error.count("\n")) == (7, True, 1)
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
    assert (found["resnet50"]["source"], found["resnet50"]["mebibytes"]) == ("torchvision", 97.781)
    assert found["resnet50"]["file"] is None
    assert Path(found["tf_efficientnet_lite0"]["file"]).is_file()
    (row,) = json.loads(runner.invoke(app, ["weights", "list", "convnext_tiny", "--format", "json"]).stdout)["weights"]
    assert row["source"].startswith("huggingface.co/timm/convnext_tiny")
    assert row["licence"] == "apache-2.0"
    assert runner.invoke(app, ["weights", "list", "convnext_tinny"]).exit_code == 2
