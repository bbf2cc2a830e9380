"""`bench run` on datasets that lie on disk: found, absent, with a broken picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import pytest
import timm
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.tuberlin import TUBerlin
from tests.datasets.trees import picture, plant, plant_lists
from tests.pictures import write_folder

SMALL = ["--backbone", "tf_efficientnet_lite0", "--weights", "none", "--image-size", "32"]


def test_a_run_on_a_published_tree(runner: CliRunner, tmp_path: Path) -> None:
    home, layout = tmp_path / "data" / "TUBerlin", TUBerlin.layouts[0]
    plant(home, TUBerlin, layout, per_class=1)
    plant_lists(home, TUBerlin, layout, "tuberlin-30")
    # Pictures of one colour would have one embedding, which a run refuses.
    for position, photo in enumerate(sorted((home / "ImageResized_ready").glob("*/*"))):
        photo.write_bytes(picture("JPEG", (32, 32), seed=position))
    call = ["run", "-m", "imagenet", "-d", "tuberlin", "--limit", "2", *SMALL, "--format", "json"]
    result = runner.invoke(app, call)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["runs"][0]
    assert (found["dataset"], found["split"]) == ("tuberlin", "tuberlin-30")
    assert {score["queries"] for score in found["scores"] if score["average"] == "queries"} == {30}


def test_data_that_is_not_there_is_told_before_a_network_is_loaded(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*arguments: object, **options: object) -> NoReturn:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(timm, "create_model", no_network)
    (tmp_path / "data" / "TUBerlin" / "pictures").mkdir(parents=True)
    result = runner.invoke(app, ["run", "-m", "ours", "-m", "imagenet", "-d", "emoji", "-d", "tuberlin"])
    assert result.exit_code == 3, result.stderr
    for part in (
        "error: Dataset 'tuberlin' was not found",
        "data/TUBerlin holds pictures/",
        "unpack it to data/TUBerlin as png_ready/<class>/*, ImageResized_ready/<class>/*",
    ):
        assert part in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_broken_picture_is_named(
    workers: str, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workers != "0":
        monkeypatch.setattr("bench.datasets.images.loader.CACHE_BYTES", 0)
    for path in ("sketch/a b/1.png", "photo/a b/1.png", "photo/a b/2.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"no picture" if path.endswith("2.png") else picture())
    call = ["run", "-m", "imagenet", "-d", "folder", "--set", "root=.", "--set", "unseen=all", "--workers", workers]
    result = runner.invoke(app, [*call, *SMALL])
    assert result.exit_code == 3, result.stderr
    message = "error: Image photo/a b/2.png cannot be decoded (not an image file): replace or remove it."
    assert result.stderr.rstrip().endswith(message)


def test_a_broken_picture_may_be_dropped(runner: CliRunner, tmp_path: Path) -> None:
    write_folder(tmp_path, classes=3)
    broken = sorted((tmp_path / "photo").glob("*/*"))[0]
    call = [
        "run",
        "-m",
        "imagenet",
        "-d",
        "folder",
        "--set",
        "root=.",
        "--set",
        "unseen=all",
        *SMALL,
        "--format",
        "json",
    ]
    whole = json.loads(runner.invoke(app, call).stdout)["runs"][0]
    broken.write_bytes(b"no picture")
    dropping = runner.invoke(app, [*call, "--on-bad-image", "drop"])
    assert dropping.exit_code == 0, dropping.stderr
    assert f"dropped: Image {broken.relative_to(tmp_path).as_posix()} cannot be decoded" in dropping.stderr
    assert json.loads(dropping.stdout)["runs"][0]["fingerprint"] != whole["fingerprint"]
    assert runner.invoke(app, [*call, "--force"]).exit_code == 3
