"""`bench show knowledge`: the table of a stored run, by class, or one sentence why there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from bench.cli.main import app
from bench.experiments.execute import Execution
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.experiments.stored_run import load_experiment
from bench.results.store import Store
from bench.settings.request import Request
from tests.conftest import Quiet
from tests.pictures import words_of, write_folder

SMALL = ("image_size=64", "epochs=0.1", "temperature=0.5")


@pytest.fixture
def stored(runner: CliRunner, shared_cache: Path) -> dict[str, int]:
    """Runs that are stored as asked for and were never trained: the table depends on nothing that training gives."""
    resources = Resources(data_root=Path("data"), cache_dir=shared_cache)
    store = Store("bench.db")
    numbers = {}
    for title, request in {
        "ours": Request("ours", "emoji", seed=3, assignments=SMALL, per_class_limit=1),
        "alone": Request("ours", "emoji", without=("preservation",), per_class_limit=1),
        "online": Request("ours", "emoji", structural="online-teacher", per_class_limit=1),
        "hog": Request("hog", "emoji", per_class_limit=1),
    }.items():
        numbers[title] = store.begin({**resolve(request, resources).identity, "environment": {}})
    changed = {**resolve(Request("ours", "emoji"), resources).identity, "environment": {}}
    numbers["other images"] = store.begin({**changed, "fingerprint": "f" * 64})
    configuration = {**changed["configuration"], "run": {**changed["configuration"]["run"], "weights": "sha256:0123"}}
    numbers["weights file"] = store.begin({**changed, "configuration": configuration})
    numbers["external"] = store.begin({**changed, "configuration": {**configuration, "external": {"verified": True}}})
    store.close()
    return numbers


def test_each_seen_class_has_its_likeliest_imagenet_classes(
    stored: dict[str, int], runner: CliRunner, shared_cache: Path
) -> None:
    call = ["show", "knowledge", str(stored["ours"])]
    result = runner.invoke(app, [*call, "-k", "2", "--format", "json"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["classes"]
    resources = Resources(data_root=Path("data"), cache_dir=shared_cache, device="cpu")
    experiment = resolve(Request("ours", "emoji", assignments=SMALL, per_class_limit=1), resources)
    assert [row["seen_class"] for row in rows[::2]] == list(experiment.split.seen)
    # One photo a class (the limit), so that its row is what the untrained network says of that photo.
    execution = Execution(experiment, resources, Quiet())
    photos = execution.training_photos(execution.training_data())
    backbone = execution.method.eval().backbone
    with torch.inference_mode():
        logits = photos.apply(lambda images: backbone.classify(backbone(images)))
    best = torch.softmax(logits / 0.5, dim=1).max(dim=1).values.tolist()
    for label, probability in zip(photos.labels[:3].tolist(), best[:3], strict=True):
        first, second = (row for row in rows if row["seen_class"] == experiment.split.seen[label])
        assert first["probability"] == pytest.approx(probability, abs=1e-3)
        assert first["probability"] >= second["probability"]
    table = runner.invoke(app, call)  # from the cache this time
    (ambulance, _) = (row for row in rows if row["seen_class"] == "ambulance")
    assert f"ambulance\t{ambulance['imagenet_class']}\t{ambulance['probability']:.4f}\n" in table.stdout


def test_a_stored_run_gives_its_experiment_again(stored: dict[str, int], shared_cache: Path) -> None:
    store = Store("bench.db")
    (run,) = store.runs(id=stored["ours"])
    store.close()
    experiment = load_experiment(run, Resources(data_root=Path("data"), cache_dir=shared_cache))
    assert experiment.key == run.key


@pytest.mark.parametrize("choice", ["draw=4", "unseen=amphora"])
def test_of_a_folder_of_ones_own_the_table_needs_its_place_alone(
    choice: str, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    root = write_folder(tmp_path / "pictures", classes=6, images=2)
    words = words_of(root, "--set", "name=mine", "--epochs", "0.2")
    words = [choice if word == "draw=4" else word for word in words]
    ran = runner.invoke(app, ["run", "-m", "ours", *words])
    assert ran.exit_code == 0, ran.stderr
    found = runner.invoke(app, ["show", "knowledge", "1", "--set", f"root={root}", "--format", "json"])
    assert found.exit_code == 0, found.stderr
    assert len(json.loads(found.stdout)["classes"]) == 3 * (2 if choice == "draw=4" else 5)


WHY_NOT = (
    ("alone", 2, "A run of 'ours without preservation' prepares no table of ImageNet knowledge"),
    ("online", 2, "A run of 'ours online-teacher' prepares no table"),
    ("hog", 2, "A run of 'hog' prepares no table"),
    ("other images", 3, "are not those of the run"),
    ("weights file", 7, "The weights file sha256:0123... is not on this machine"),
    ("external", 2, "another program"),
    ("none", 4, "There is no run 99"),
)


def test_why_there_is_no_table(stored: dict[str, int], runner: CliRunner) -> None:
    for which, code, message in WHY_NOT:
        result = runner.invoke(app, ["-q", "show", "knowledge", str(stored.get(which, 99))])
        assert (which, result.exit_code) == (which, code)
        assert message in result.stderr
        assert result.stdout == ""
