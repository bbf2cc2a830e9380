"""Asked again, nothing is computed; asked only in thought, nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.base import Dataset
from bench.datasets.emoji import Emoji
from bench.datasets.folder import Folder
from bench.results.store import Store
from tests.pictures import words_of, write_folder

RUN = ["run", "-m", "imagenet", "--limit", "1", "--image-size", "32", "--format", "json"]


def no_reading(*_: object) -> Any:
    raise AssertionError("an image was read")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_asked_again_no_image_is_read(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runner.invoke(app, RUN)
    assert first.exit_code == 0, first.stderr
    monkeypatch.setattr(Emoji, "read", no_reading)
    again = runner.invoke(app, RUN)
    assert again.exit_code == 0, again.stderr
    (before,), (after,) = json.loads(first.stdout)["runs"], json.loads(again.stdout)["runs"]
    assert after == {**before, "already_done": True}


def test_images_that_were_replaced_since_are_told_of(runner: CliRunner, tmp_path: Path) -> None:
    """Names make a run's key where no hash of the data is published: another file of that name has another size."""
    root = write_folder(tmp_path / "pictures", classes=6, images=2)
    call = ["run", "-m", "imagenet", *words_of(root, "--format", "json")]
    assert runner.invoke(app, call).exit_code == 0
    split = Folder(tmp_path, Folder.Settings(root=str(root), draw=4)).split()
    said = "WARNING: Run 1 used other images"
    for item, told in ((split.train[0], False), (split.gallery[0], True)):  # the network is not trained
        with (root / item.path).open("ab") as file:
            file.write(b" ")
        again = runner.invoke(app, call)
        assert (again.exit_code, json.loads(again.stdout)["runs"][0]["already_done"]) == (0, True)
        assert (said in again.stderr) == told
    assert json.loads(runner.invoke(app, [*call, "--force"]).stdout)["runs"][0]["run"] == 2
    assert "WARNING" not in runner.invoke(app, call).stderr


def test_a_result_outlives_its_data(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk with the images is not mounted today: the same words find what is stored, other words do not."""
    from bench.errors import DataError

    assert runner.invoke(app, RUN).exit_code == 0

    def missing(self: Dataset, name: str) -> Any:
        raise DataError("Dataset 'emoji' was not found.")

    monkeypatch.setattr(Emoji, "load_split", missing)
    again = runner.invoke(app, RUN)
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["runs"][0]["already_done"] is True
    assert "same settings" in again.stderr
    for other in (
        ["--seed", "1"],
        ["--set", "codes=itq-test"],
        ["--epochs", "2"],
        ["--force"],
        ["--precision", "bf16"],
    ):
        refused = runner.invoke(app, [*RUN, *other])
        assert refused.exit_code == 3, refused.output
        assert "Dataset 'emoji' was not found." in refused.stderr


def test_force_keeps_the_old_run_superseded(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (RUN, [*RUN, "--force"]):
        assert runner.invoke(app, words).exit_code == 0
    store = Store("bench.db")
    old, new = store.runs()
    store.close()
    assert (old.status, new.status) == ("superseded", "done")
    assert old.key == new.key
    assert old.scores == new.scores
    assert new.cost["images_per_second"] > 0  # its images were embedded again
    assert json.loads(runner.invoke(app, RUN).stdout)["runs"][0]["run"] == new.id


def test_a_dry_run_writes_nothing(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    words = ["run", "-m", "imagenet", "-m", "ours", *words_of(write_folder(tmp_path / "pictures"))]
    before = files_of(tmp_path)
    planned = runner.invoke(app, [*words, "--dry-run", "--format", "json"])
    assert planned.exit_code == 0, planned.stderr
    assert [row["state"] for row in json.loads(planned.stdout)["runs"]] == ["to run", "to run"]
    assert all(row["megabytes"] >= 0 and row["seconds"] is None for row in json.loads(planned.stdout)["runs"])
    assert files_of(tmp_path) == before


def test_a_dry_run_tells_what_is_done_and_what_is_running(runner: CliRunner, tmp_path: Path) -> None:
    words = ["run", "-m", "imagenet", *words_of(write_folder(tmp_path / "pictures"))]
    assert runner.invoke(app, words).exit_code == 0
    planned = runner.invoke(app, [*words, "--seeds", "2", "--dry-run", "--format", "json"])
    keys = [row["key"] for row in json.loads(planned.stdout)["runs"]]
    from bench.experiments.experiment import Resources
    from bench.experiments.resolve import resolve
    from bench.settings.request import Request

    settings = (*(word for word in words if "=" in word), "backbone=tf_efficientnet_lite0")
    second = resolve(Request("imagenet", "folder", seed=1, assignments=settings), Resources(tmp_path, tmp_path))
    assert second.key.startswith(keys[1])
    store = Store("bench.db")
    done = store.runs()[0]
    store.claim({**second.identity, "environment": {}})
    store.close()
    before = files_of(tmp_path)
    planned = runner.invoke(app, [*words, "--seeds", "2", "--dry-run", "--format", "json"])
    rows = json.loads(planned.stdout)["runs"]
    assert [(row["state"], row["run"]) for row in rows] == [("done", 1), ("running", 2)]
    assert rows[0]["seconds"] == 0
    assert rows[1]["seconds"] == round(sum(done.seconds.values()))
    assert files_of(tmp_path) == before


def test_time_and_memory_of_a_run_are_those_of_its_like_and_time_grows_with_the_epochs(tmp_path: Path) -> None:
    from bench.cli.dry_run import estimate
    from bench.experiments.experiment import Resources
    from bench.experiments.resolve import resolve
    from bench.settings.request import Request
    from tests.bench.test_provenance import record

    asked = ("epochs=6", "image_size=64", "backbone=resnet18", "weights=none")
    experiment = resolve(Request("softmax", "emoji", assignments=asked), Resources(tmp_path, tmp_path))

    def stored(number: int, training: float, **run: Any) -> Any:
        seconds = {"training": training, "embedding": 5.0}
        return replace(record(number), method="softmax", seconds=seconds, configuration={"run": run})

    like = [
        stored(1, 10.0, epochs=2.0, image_size=64, backbone="resnet18"),  # 30 s of training, 5 s of the rest
        stored(2, 90.0, epochs=6.0, image_size=64, backbone="resnet18"),
        stored(3, 7000.0, epochs=6.0, image_size=224, backbone="resnet18"),
    ]
    assert estimate(experiment, like)[0] == 65  # of 35 and 95
    assert estimate(experiment, like[2:])[0] == 7005  # for want of a better
    assert estimate(experiment, [stored(4, 8.0)])[0] == 13  # of elsewhere, nothing known of its settings
    assert estimate(experiment, [])[0] is None
    peaks = [replace(run, cost={"peak_memory": 1e9 * peak}) for run, peak in zip(like, (5, 4, 3), strict=True)]
    assert estimate(experiment, peaks)[1] == 4e9
    _, least = estimate(experiment, like)
    assert least == len(experiment.split.train) * 3 * 64**2 + 4 * experiment.own.dim * (
        431 + len(experiment.split.gallery)
    )


def test_smoke_runs_are_kept_apart(runner: CliRunner) -> None:
    assert runner.invoke(app, RUN).exit_code == 0
    assert "--include-smoke" in runner.invoke(app, ["report"]).stderr
    assert "smoke: 1 images a class" in runner.invoke(app, ["report", "--include-smoke"]).stdout
    shown = runner.invoke(app, ["list", "runs"]).stdout
    assert "imagenet (smoke)" in shown


def test_a_user_s_own_folder_has_no_result_without_its_pictures(runner: CliRunner, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pictures")
    words = ["run", "-m", "imagenet", *words_of(root)]
    assert runner.invoke(app, words).exit_code == 0
    assert Folder.name == "folder"
    root.rename(tmp_path / "away")
    refused = runner.invoke(app, words)
    assert refused.exit_code == 3
    assert "There is no folder" in refused.stderr
