"""`bench run` as its users meet it: the embedded images, a database, a table or JSON, and every mistake."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.results.store import Store
from tests.pictures import write_folder

SMOKE = ["--limit", "1", "--image-size", "32", "--epochs", "0.1", "--set", "batch_size=16"]


def test_both_methods_run_and_are_stored(runner: CliRunner) -> None:
    result = runner.invoke(app, ["run", "-m", "imagenet", "-m", "ours", *SMOKE])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("emoji-93") == 2
    assert "training: " in result.stderr
    assert "quadruplet " in result.stderr
    store = Store("bench.db")
    runs = store.runs(status="done")
    store.close()
    assert [(run.method, run.per_class_limit) for run in runs] == [("imagenet", 1), ("ours", 1)]
    assert {score.average for score in runs[0].scores} == {"queries", "classes"}


def test_json_keeps_the_contract_and_a_second_call_computes_nothing(runner: CliRunner) -> None:
    call = ["run", "-m", "imagenet", "--limit", "1", "--image-size", "32", "--format", "json"]
    result = runner.invoke(app, call)
    assert result.exit_code == 0, result.output
    (first,) = json.loads(result.stdout)["runs"]
    assert set(first) == {
        "run",
        "method",
        "ablation",
        "dataset",
        "split",
        "seed",
        "selection",
        "gallery",
        "post",
        "fingerprint",
        "seconds",
        "already_done",
        "scores",
    }
    assert first["already_done"] is False
    assert len(first["fingerprint"]) == 64
    assert {"metric", "average", "value", "queries", "skipped"} == set(first["scores"][0])
    ids = {score["metric"] for score in first["scores"]}
    assert {"mAP@all:plain", "mAP@200:hits", "P@100:k", "P@200:index", "P@5:k"} <= ids
    (again,) = json.loads(runner.invoke(app, call).stdout)["runs"]
    assert again == {**first, "already_done": True}
    (forced,) = json.loads(runner.invoke(app, [*call, "--force"]).stdout)["runs"]
    assert forced["run"] != first["run"]
    assert forced["scores"] == first["scores"]


def test_an_ablation_is_another_run_with_its_name(runner: CliRunner) -> None:
    call = ["run", "-m", "ours", "--without", "quadruplet", "--without", "preservation", *SMOKE, "--format", "json"]
    (result,) = json.loads(runner.invoke(app, call).stdout)["runs"]
    assert result["ablation"] == "without quadruplet and without preservation"


def test_a_default_without_weights_gives_way_in_one_warning(runner: CliRunner, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pictures", classes=6, images=2)
    call = ["run", "-m", "imagenet", "-d", "folder", "--set", f"root={root}", "--set", "draw=2", "--image-size", "32"]
    result = runner.invoke(app, [*call, "--seed", "0", "--seed", "1"])
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("WARNING: The ImageNet weights of 'resnet50', the default backbone") == 1
    store = Store("bench.db")
    assert [run.configuration["run"]["backbone"] for run in store.runs()] == ["tf_efficientnet_lite0"] * 2
    store.close()
    plan = json.loads(runner.invoke(app, [*call, "--dry-run", "--format", "json"]).stdout)["runs"]
    assert plan[0]["state"].startswith("done")
    assert "backbone=tf_efficientnet_lite0" in plan[0]["command"]  # what another machine is told


def test_a_backbone_without_weights_enters_no_run(runner: CliRunner) -> None:
    result = runner.invoke(app, ["run", "-m", "ours", "--backbone", "resnet50", *SMOKE])
    assert result.exit_code == 7
    assert result.stderr.startswith("error: No ImageNet weights of 'resnet50' are on this machine")
    assert not Path("bench.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "-m", "our"], 2, "There is no method 'our'. Did you mean 'ours'?"),
        (["run", "-m", "ours", "-d", "emoij"], 2, "There is no dataset 'emoij'. Did you mean 'emoji'?"),
        (["run", "-m", "ours", "--split", "emoji"], 2, "has no split 'emoji'. Did you mean 'emoji-93'?"),
        (["run", "-m", "ours", "--without", "quadrupel"], 2, "Did you mean 'quadruplet'?"),
        (["run", "-m", "imagenet", "--without", "quadruplet"], 2, "Available: none."),
        (["run", "-m", "ours", "--set", "magrin=1"], 2, "There is no setting 'magrin' here. Did you mean 'margin'?"),
        (["run", "-m", "ours", "--seed", "1", "--seeds", "3"], 2, "Give either --seed or --seeds, not both."),
        (["run", "-m", "ours", "--device", "cuda:7"], 2, "Device 'cuda:7' is not on this machine"),
        (["run", "-m", "ours", "--device", "tpu9"], 2, "There is no device 'tpu9'"),
        (["run", "-m", "ours", "--device", "tpu9", "--dry-run"], 2, "There is no device 'tpu9'"),
        (
            ["run", "-m", "ours", "--backbone", "resnet5000"],
            2,
            "There is no backbone 'resnet5000'. Did you mean 'resnet",
        ),
        (["run", "-m", "ours", "--weights", "none.pth"], 7, "Weights file none.pth cannot be loaded"),
        (["run", "-m", "ours", "--store", "no/such/folder/x.db"], 6, "does not exist"),
        (["run", "-m", "ours", "--config", "none.toml"], 2, "Configuration file none.toml cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence_and_its_exit_code(
    arguments: list[str], code: int, message: str, runner: CliRunner
) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_dropping_every_loss_is_a_mistake(runner: CliRunner) -> None:
    terms = ("quadruplet", "classification", "preservation")
    result = runner.invoke(app, ["run", "-m", "ours", *(word for term in terms for word in ("--without", term))])
    assert result.exit_code == 2
    assert "left without any loss term" in result.stderr


def test_one_failing_cell_does_not_take_the_others_down(runner: CliRunner) -> None:
    call = ["run", "-m", "ours", "-m", "imagenet", *SMOKE, "--set", "head_lr=1e38"]
    result = runner.invoke(app, call)
    assert result.exit_code == 4, result.stderr
    assert "Loss term" in result.stderr
    assert "1 of 2 runs failed, the others are stored." in result.stderr
    assert "imagenet" in result.stdout
    store = Store("bench.db")
    assert [(run.method, run.status) for run in store.runs()] == [("ours", "failed"), ("imagenet", "done")]
    store.close()


def test_a_configuration_file_gives_defaults_and_the_line_wins(runner: CliRunner) -> None:
    Path("bench.toml").write_text(
        'store = "mine.db"\n[run]\nmethod = "imagenet"\nlimit = 1\nimage-size = 32\nformat = "json"\n'
    )
    result = runner.invoke(app, ["run", "--seed", "5"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["runs"][0]["seed"] == 5
    assert Path("mine.db").exists()
    assert not Path("bench.db").exists()
    runner.invoke(app, ["run", "--store", "other.db"])
    assert Path("other.db").exists()


def test_two_configuration_files_are_joined_key_by_key(runner: CliRunner) -> None:
    Path("bench.toml").write_text('store = "here.db"\n[run]\nmethod = "imagenet"\nlimit = 2\nimage-size = 32\n')
    Path("other.toml").write_text('quiet = true\n[run]\nlimit = 1\n[list.runs]\nformat = "json"\n')
    ran = runner.invoke(app, ["run", "--config", "other.toml"])
    assert ran.exit_code == 0, ran.stderr
    listed = runner.invoke(app, ["list", "runs", "--config", "other.toml"])
    (run,) = json.loads(listed.stdout)["runs"]
    assert run["method"] == "imagenet"
    store = Store("here.db")
    assert [each.per_class_limit for each in store.runs()] == [1]
    store.close()
    call = ["-m", "imagenet", "--limit", "1", "--image-size", "32", "--dry-run", "--format", "json"]
    for config, state in (("other.toml", "done"), (os.devnull, "to run")):
        (planned,) = json.loads(runner.invoke(app, ["run", "--config", config, *call]).stdout)["runs"]
        assert planned["state"] == state


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nlearning-rate = 1", "unknown key 'learning-rate' for run. Did you mean 'lr'?"),
        ("[data.chekc]\ndeep = true", "unknown key 'chekc' for data. Did you mean 'check'?"),
        ("[data.check]\ndep = true", "unknown key 'dep' for data check. Did you mean 'deep'?"),
        ("stroe = 'x'", "unknown key 'stroe'. Did you mean 'store'?"),
        ("[run]\nmetod = 'ours'", "unknown key 'metod' for run. Did you mean 'method'?"),
        ("[run", "cannot be read"),
    ],
)
def test_a_wrong_configuration_file(text: str, message: str, runner: CliRunner) -> None:
    Path("bench.toml").write_text(text)
    result = runner.invoke(app, ["run", "-m", "imagenet"])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_gallery_of_all_classes_has_tables_and_protocols_of_its_own(runner: CliRunner) -> None:
    call = ["run", "-m", "imagenet", "--limit", "2", "--image-size", "32", "--format", "json"]
    plain = runner.invoke(app, call)
    assert plain.exit_code == 0, plain.output
    none = runner.invoke(app, ["report", "--include-smoke", "--protocol", "generalized-sake"])
    assert (none.exit_code, "gallery of all classes" in none.stderr) == (4, True)
    found = runner.invoke(app, [*call, "--gallery", "all"])
    assert found.exit_code == 0, found.output
    one, other = (json.loads(each.stdout)["runs"][0] for each in (plain, found))
    assert one["fingerprint"] != other["fingerprint"]
    figures = [each["scores"][0]["value"] for each in (one, other)]
    assert figures[1] < figures[0]  # more photos to be wrong with

    def titles(*words: str) -> list[str]:
        report = runner.invoke(app, ["report", "--include-smoke", *words])
        assert report.exit_code == 0, report.output
        return [line for line in report.stdout.splitlines() if line.startswith("## ")]

    generalized, unseen = titles()
    assert "gallery: all classes" in generalized
    assert generalized.endswith("protocol generalized-standard")
    assert unseen.endswith("protocol standard")
    assert [title.rpartition(" ")[2] for title in titles("--protocol", "sake")] == ["generalized-sake", "sake"]
    assert [title.rpartition(" ")[2] for title in titles("--protocol", "generalized-sake")] == ["generalized-sake"]
    assert "| generalized-zse-sbir " in runner.invoke(app, ["report", "--include-smoke", "--kind", "protocols"]).stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "-m", "ours", "--backbone", "nope"], 2, "There is no backbone 'nope'. "),
        (
            ["run", "-m", "ours", "--backbone", "resnet5O"],
            2,
            "There is no backbone 'resnet5O'. Did you mean 'resnet50'?",
        ),
        (["run", "-m", "imagenet", "--set", "bits=8"], 2, "Setting 'bits' is the width of binary codes: give codes="),
        (["ablate", "--all-subsets", "--without", "quadruplet"], 2, "leave out --without"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_said_before_a_run_is_entered(
    words: list[str], code: int, message: str, runner: CliRunner
) -> None:
    for more in ([], ["--dry-run"]):
        found = runner.invoke(app, [*words, "--limit", "1", *more])
        assert found.exit_code == code, found.output
        assert message in found.stderr
        assert len(found.stderr) < 300  # no list of a thousand names
    assert not Path("bench.db").exists()


def test_one_unknown_dataset_among_others_is_named(runner: CliRunner) -> None:
    assert runner.invoke(app, ["run", "-m", "hog", "--limit", "1"]).exit_code == 0
    found = runner.invoke(app, ["report", "--include-smoke", "-d", "emoji", "-d", "emojj"])
    assert found.exit_code == 4, found.output
    assert "No run of dataset 'emojj' is stored. Did you mean 'emoji'?" in found.stderr


@pytest.mark.parametrize("option", ["--seed", "--limit"])
def test_a_number_that_no_database_holds_is_refused(option: str, runner: CliRunner) -> None:
    result = runner.invoke(app, ["run", "-m", "ours", option, str(2**63)])
    assert result.exit_code == 2
    assert "9223372036854775807" in result.stderr
