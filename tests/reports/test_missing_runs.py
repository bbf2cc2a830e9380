"""Runs that are missing, failed or running, and the commands that compute them."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from bench.cli.main import app
from bench.reports.base import Options
from bench.results.store import Store
from tests.reports.filling import CODES, everything, fill, report


def test_missing_failed_and_running_cells_differ(filled: Store) -> None:
    emoji, sketchy = report(filled, "main", options=Options(published=False)).tables
    rows = {row[0]: row for row in emoji.rows}
    assert rows["sake"][1:3] == ("seed 1 failed", "failed")
    assert rows["ours"][1] == "0-2 (seed 3 running)"
    assert {row[0]: row for row in sketchy.rows}["imagenet"][1:] == ("-",) * (len(sketchy.columns) - 1)
    assert "bench run -m imagenet -d sketchy --split sketchy-21 --seed 0" in sketchy.commands
    assert "bench run -m sake -d emoji --split emoji-93 --seed 1" in emoji.commands
    assert not any("-m ours -d emoji" in command for command in emoji.commands)
    footer = report(filled, "main").footer
    assert any("(sake on emoji-93, seed 1) is failed: RuntimeError: NaN." in line for line in footer)


def test_the_command_of_a_run_with_another_backbone_has_its_frozen_blocks(store: Store) -> None:
    """The frozen blocks of a dataset's recipe apply to its own backbone only."""
    for seed in range(2):
        fill(store, level=0.5, seed=seed)
    common = {"lr": 3e-4, "backbone": "resnet18", "frozen_blocks": 5}
    fill(store, level=0.6, configuration={"run": common, "method": {"margin": 0.3}, "caution": ""})
    (table,) = report(store, "main", options=Options(published=False)).tables
    (command,) = table.commands
    assert "--set backbone=resnet18" in command
    assert "--set frozen_blocks=5" in command


def test_the_command_of_a_missing_seed_asks_for_what_the_row_is(store: Store) -> None:
    for seed in range(2):
        fill(store, level=0.5, seed=seed)
    usual: dict[str, Any] = {"run": {"lr": 3e-4}, "method": {"margin": 0.3}, "caution": ""}
    call = {"command": "bench run -m ours --set margin=1 --lr 0.0002"}
    fill(store, level=0.6, configuration={**usual, "run": {"lr": 2e-4}, "method": {"margin": 1.0}}, environment=call)
    fill(store, level=0.4, ablation="unbalanced")
    fill(store, level=0.4, ablation="without quadruplet and without classification")
    fill(store, level=0.4, configuration={**usual, "post": CODES})
    (table,) = report(store, "main", options=Options(published=False)).tables
    assert "ours (lr 0.0002, margin 1)" in {row[0] for row in table.rows}
    assert set(table.commands) == {
        "bench run -m ours -d emoji --split emoji-93 --seed 1 --set lr=0.0002 --set margin=1",
        "bench ablate --structural -m ours -d emoji --split emoji-93 --seed 1",
        "bench run -m ours -d emoji --split emoji-93 --seed 1 --without quadruplet --without classification",
        "bench run -m ours -d emoji --split emoji-93 --seed 1 --set codes=itq-test --set bits=64",
    }


def test_the_command_repeats_what_no_default_gives_though_all_rows_share_it(store: Store) -> None:
    shared: dict[str, Any] = {
        "run": {"lr": 3e-4, "image_size": 64, "weights": "sha256:ab"},
        "method": {"margin": 1.0, "dim": 64},
        "precision": "bf16",
    }
    call = {"command": "bench --store .../a.db run -m ours -m sake --set margin=1 --image-size 64 --weights .../w"}
    fill(store, level=0.5, configuration=shared, environment=call)
    fill(store, level=0.5, configuration=shared, environment=call, seed=1, method="sake")
    (table,) = report(store, "main", options=Options(published=False)).tables
    rest = "--set image_size=64 --set weights=FILE --set margin=1 --precision bf16"
    assert set(table.commands) == {
        f"bench run -m ours -d emoji --split emoji-93 --seed 1 {rest}",
        f"bench run -m sake -d emoji --split emoji-93 --seed 0 {rest}",
    }


def test_the_command_names_the_settings_of_a_dataset_and_the_place_of_a_folder_of_ones_own(store: Store) -> None:
    fill(store, level=0.5, method="sake")
    for split in ("all-1a", "unseen-1a", "draw2-seed7-1a"):
        own = {"run": {}, "method": {}, "dataset": {"name": "mine", "ink_crop": True}}
        fill(store, level=0.5, dataset="mine", split=split, configuration=own, gallery="all", per_class_limit=None)
    full = {"run": {}, "method": {}, "dataset": {"photos": "full", "files": "auto"}}
    fill(store, level=0.5, dataset="sketchy", split="sketchy-21", configuration=full)
    tables = report(store, "main", options=Options(published=False)).tables
    folder = "--seed 0 --set name=mine --set ink_crop=true {} --gallery all --set root=PATH"
    assert [table.commands for table in tables[1:]] == [
        (f"bench run -m sake -d folder --split all-1a {folder.format('--set unseen=all')}",),
        (f"bench run -m sake -d folder --split draw2-seed7-1a {folder.format('--set draw=2 --set seed=7')}",),
        (f"bench run -m sake -d folder --split unseen-1a {folder.format('--set unseen=ant,elk')}",),
        ("bench run -m sake -d sketchy --split sketchy-21 --seed 0 --set photos=full",),
    ]
    assert "`bench run -m imagenet -d sketchy --split sketchy-21 --set photos=full` adds it." in tables[-1].notes[-2]


def test_nobody_is_asked_to_select_epochs_on_the_test(filled: Store) -> None:
    tables = report(filled, "main", include_oracle=True).tables
    (oracle,) = (table for table in tables if "oracle" in table.title)
    assert [row[0] for row in oracle.rows] == ["ours [oracle: selected on the test]"]
    assert oracle.commands == ()
    assert not any("baseline" in note for note in oracle.notes)


def test_a_report_omits_a_failure_that_a_later_run_replaced(filled: Store) -> None:
    fill(filled, level=0.4, method="sake", seed=1)
    lines = report(filled, "main").footer
    assert any("failed" in line for line in lines) == any("sake" in line and "failed" in line for line in lines)
    assert not any("sake on emoji-93, seed 1" in line for line in lines)


def test_commands_for_missing_cells_go_to_stderr_alone(runner: CliRunner) -> None:
    store = Store("bench.db")
    everything(store)
    store.close()
    result = runner.invoke(app, ["report"])
    assert result.exit_code == 0, result.stderr
    assert "missing: bench run -m imagenet -d sketchy --split sketchy-21 --seed 0" in result.stderr
    assert "missing:" not in result.stdout


def test_smoke_and_oracle_runs_stand_apart(filled: Store) -> None:
    titles = [table.title for table in report(filled, "main", include_smoke=True, include_oracle=True).tables]
    assert sum("smoke" in title for title in titles) == 1
    assert sum("oracle" in title for title in titles) == 1
