from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.evaluation.protocols.base import PROTOCOLS
from bench.methods.backbone.published_weights import PACKAGES, packaged_file


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("methods", "ours"),
        ("datasets", "emoji"),
        ("splits", "emoji-93"),
        ("protocols", "standard"),
        ("metrics", "mAP@K:min"),
        ("settings", "weight_quadruplet"),
    ],
)
def test_lists_name_what_there_is(what: str, name: str, runner: CliRunner) -> None:
    table = runner.invoke(app, ["list", what])
    assert table.exit_code == 0
    assert name in table.stdout
    rows = json.loads(runner.invoke(app, ["list", what, "--format", "json"]).stdout)[what]
    assert name in [next(iter(row.values())) for row in rows]


def test_splits_for_choosing_settings_are_listed_and_load(runner: CliRunner) -> None:
    rows = json.loads(runner.invoke(app, ["list", "splits", "--format", "json"]).stdout)["splits"]
    names = [row["split"] for row in rows if row["dataset"] == "emoji"]
    assert names[:2] == ["emoji-93", "emoji-93:tuning"]
    assert {"emoji-93-fine", "emoji-93-fine:tuning"} <= {*names}
    assert runner.invoke(app, ["data", "list", "emoji", "--split", "emoji-93:tuning"]).exit_code == 0


def test_settings_have_the_defaults_of_their_dataset(runner: CliRunner) -> None:
    def default(name: str, *words: str) -> str:
        found = runner.invoke(app, ["list", "settings", *words, "--format", "json"])
        assert found.exit_code == 0, found.stderr
        (row,) = [row for row in json.loads(found.stdout)["settings"] if row["setting"] == name]
        assert row["meaning"]
        return str(row["default"])

    assert [default("frozen_blocks"), default("frozen_blocks", "softmax", "-d", "sketchy")] == ["5", "-1"]
    assert default("initialisation", "sake") == "random"
    mistaken = runner.invoke(app, ["list", "settings", "sack"])
    assert (mistaken.exit_code, "Did you mean 'sake'?" in mistaken.stderr) == (2, True)


def test_backbones_say_where_their_weights_come_from(runner: CliRunner) -> None:
    rows = json.loads(runner.invoke(app, ["list", "backbones", "*net*0", "--format", "json"]).stdout)["backbones"]
    found = {row["backbone"]: row for row in rows}
    assert found["tf_efficientnet_lite0"]["imagenet_weights"] == "installed"
    assert found["tf_efficientnet_lite0"]["default_for"] == ["emoji"]
    assert found["resnet50"]["imagenet_weights"] == "--weights FILE"
    assert {"sketchy", "tuberlin", "quickdraw"} <= set(found["resnet50"]["default_for"])
    assert "vit_tiny_patch16_224" not in found


def test_usable_backbones_have_weights_on_this_machine(runner: CliRunner) -> None:
    asked = runner.invoke(app, ["list", "backbones", "--usable", "--format", "json"])
    found = [row["backbone"] for row in json.loads(asked.stdout)["backbones"]]
    assert found == [name for name in PACKAGES if packaged_file(name)]  # nothing is downloaded in tests


def test_a_backbone_that_is_not_there_has_a_neighbour(runner: CliRunner) -> None:
    asked = runner.invoke(app, ["list", "backbones", "resnet5"])
    assert asked.exit_code == 2
    assert asked.stderr == "error: There is no backbone 'resnet5'. Did you mean 'resnet50'?\n"


def test_lists_explain_themselves(runner: CliRunner) -> None:
    protocols = json.loads(runner.invoke(app, ["list", "protocols", "--format", "json"]).stdout)["protocols"]
    assert [each["protocol"] for each in protocols] == PROTOCOLS.names()
    assert all(each["summary"] and each["used_by"] and each["source"] and each["metrics"] for each in protocols)
    table = runner.invoke(app, ["list", "protocols"]).stdout
    assert all(word in table for word in ("sketch-lvm", "paired", "P@200:index", "doodle2search"))
    metrics = json.loads(runner.invoke(app, ["list", "metrics", "--format", "json"]).stdout)["metrics"]
    assert [each["metric"] for each in metrics][:2] == ["acc@K", "mAP@all:plain"]
    assert {each["protocol"]: each["version"] for each in protocols}["zse-sbir"] == 2
    assert all(each["summary"] and each["used_by"] for each in metrics)
    assert "mAP@K:voc-min" in runner.invoke(app, ["list", "metrics"]).stdout
