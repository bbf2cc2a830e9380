"""The documentation: commands run or parse, links lead to files, tables are those of the store, examples work."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from bench.evaluation.metrics.base import METRICS
from bench.experiments.experiment import Resources
from bench.loggers.base import LOGGERS
from bench.methods.base import METHODS, Context
from bench.reports.base import KINDS
from bench.results.store import Store
from bench.settings.run_settings import OPTIMISERS, SCHEDULES, RunSettings
from tests.fenced import PAGES, ROOT, commands
from tests.pictures import SMALL, write_folder
from tests.reports.filling import everything

MARKED = [page for page in PAGES if "<!-- run -->" in page.read_text(encoding="utf-8")]
NAMES = {page: str(page.relative_to(ROOT)) for page in PAGES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network as run 1, other runs, pictures, and embeddings of somebody's own code."""
    folder = tmp_path_factory.mktemp("docs")
    pictures = write_folder(folder / "my-drawings", classes=22, images=1)
    shutil.copy(next((pictures / "sketch").rglob("*.png")), folder / "sketch.png")
    places = ["--store", str(folder / "bench.db"), "--cache-dir", str(folder / "cache")]
    small = ["--limit", "2", "--epochs", "0.05", "--image-size", "32", "--device", "cpu"]
    made = CliRunner().invoke(app, [*places, "run", "-m", "ours", "-d", "emoji", *small, *SMALL])
    assert made.exit_code == 0, made.output
    store = Store(str(folder / "bench.db"))
    everything(store)
    store.close()
    for name in ("a.db", "b.db"):
        shutil.copy(folder / "bench.db", folder / name)
    draws, labels = np.random.default_rng(0), np.arange(300) % 8
    query, gallery = draws.normal(size=(40, 16)), draws.normal(size=(300, 16))
    arrays = {"query": query, "gallery": gallery, "query_labels": labels[:40], "gallery_labels": labels}
    np.savez(folder / "embeddings.npz", **arrays)
    return folder


@pytest.mark.parametrize("page", MARKED, ids=NAMES.get)
def test_marked_commands_run(page: Path, folder: Path, runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(folder / "cache"))
    for program, *words in commands(page, marked=True):
        done = runner.invoke(app, words)
        assert (program, done.exit_code) == ("bench", 0), f"{words}: {done.output}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_every_command_has_known_options(page: Path, runner: CliRunner) -> None:
    """``--help`` prints help only when all other words were understood."""
    for words in commands(page):
        if "bench" in words:
            done = runner.invoke(app, [*words[words.index("bench") + 1 :], "--help"])
            assert done.exit_code == 0, f"{words}: {done.output}"


def test_every_relative_link_leads_to_a_file() -> None:
    for page in (*PAGES, ROOT / "CHANGELOG.md", ROOT / "datasets" / "emoji" / "CARD.md"):
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page}: {link}"


def test_every_named_file_exists() -> None:
    top = "bench|methods|datasets|reports|tests|tools|benchmarks|docs|examples"
    for page in PAGES:
        for name in re.findall(rf"`((?:{top})/[a-z_\d/.-]*)`", page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page}: {name}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "results").glob("*.md")), ids=lambda page: page.stem)
def test_the_results_are_those_of_the_stored_runs(page: Path, runner: CliRunner, tmp_path: Path) -> None:
    """With new runs: write the page again with BENCH_UPDATE_EXPECTED=1, and read its prose."""
    shutil.copy(page.with_suffix(".db"), tmp_path / "copy.db")  # opening a database may change it
    begin, mark, rest = re.split(r"(<!-- generated: report .*-->\n)", page.read_text(encoding="utf-8"))
    options = ["--store", str(tmp_path / "copy.db"), "--no-published", *mark.split()[3:-1]]
    result = runner.invoke(app, ["report", *options])
    assert result.exit_code == 0, result.stderr
    old, end, tail = rest.partition("<!-- end -->")
    if os.environ.get("BENCH_UPDATE_EXPECTED"):
        page.write_text(f"{begin}{mark}{result.stdout}{end}{tail}", encoding="utf-8")
        old = result.stdout
    assert old == result.stdout


def run_python_blocks(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they register is forgotten after the test."""
    for registry in (METHODS, METRICS, SCHEDULES, OPTIMISERS, LOGGERS, KINDS):
        registry.names()  # imports the project's own first
        monkeypatch.setattr(registry, "_known", dict(registry._known))
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, page.name, "exec"), {})


def test_the_examples_of_the_readme_are_figures_and_a_method(
    folder: Path, resources: Resources, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    run_python_blocks(ROOT / "README.md", monkeypatch)
    assert "mAP@all:plain" in capsys.readouterr().out
    kind = METHODS.get("gem")
    run = RunSettings(backbone="tf_efficientnet_lite0", image_size=64)
    method = kind(kind.Settings(), Context(run, ("ant",), resources.cache_dir)).eval()
    with torch.inference_mode():
        vectors = method.embed(torch.rand(2, 3, 64, 64), True)
    assert vectors.shape == (2, method.backbone.width)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_examples_of_extending_train_and_report(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    run_python_blocks(ROOT / "docs" / "extending.md", monkeypatch)
    small = ["--limit", "1", "--epochs", "0.05", "--image-size", "32", "--device", "cpu"]
    run = ["run", "-m", "centre", "-d", "emoji", *small, "--log", "lines:curves.jsonl"]
    for words in (run, ["report", "--kind", "seeds", "--include-smoke"]):
        done = runner.invoke(app, words)
        assert done.exit_code == 0, done.output
    assert "largest difference" in done.stdout
    assert "loss/centre" in Path("curves.jsonl").read_text()


def test_the_line_for_pandas_has_a_row_for_each_of_the_report(
    folder: Path, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert runner.invoke(app, ["report", "--kind", "all", "--format", "json", "-o", "report.json"]).exit_code == 0
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tools.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec("\n".join(code), names)
    assert len(names["values"]) == len(bench.runs()[0].clusters)
    tables = json.loads((folder / "report.json").read_text())["tables"]
    assert len(names["tables"]) == sum(len(each["rows"]) for each in tables) > 0
    assert names["tables"]["map_all_plain"].dtype == float


def test_the_shards_of_the_example_are_scored(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    run_python_blocks(ROOT / "docs" / "scale.md", monkeypatch)
    done = runner.invoke(app, ["score", "mine"])
    assert done.exit_code == 0, done.output
