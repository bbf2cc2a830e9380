"""``examples/plugin`` and a broken package beside it, installed for real, as processes of the program see them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
KINDS = ("methods", "datasets", "protocols", "reports")
BROKEN = {
    "cracked.py": "raise RuntimeError('half written')\n",
    "cracked-0.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: cracked\nVersion: 0.3\n",
    "cracked-0.3.dist-info/entry_points.txt": "".join(
        f"[bench.{group}]\n{'kind.' * (group == 'reports')}cracked = cracked:thing\n" for group in KINDS
    ),
}
SMALL = "--epochs 0.2 --image-size 32 --batch-size 8 --set dim=16 --set frozen_blocks=5 --device cpu --format json"

Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages: pip builds a copy, so that nothing is left in the example's folder."""
    source, site = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    call = [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(source)]
    made = subprocess.run(call, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    for path, text in BROKEN.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(text)
    return site


@pytest.fixture(scope="module")
def bench(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Calls of the program in one folder, with the installed packages in sight."""
    folder = tmp_path_factory.mktemp("work")
    places = {"PYTHONPATH": str(installed), "BENCH_CACHE_DIR": str(folder / "cache"), "NO_COLOR": "1"}

    def call(*words: str, module: str = "bench", cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(("-m", module) if module else ()), *words]
        return subprocess.run(
            command, cwd=cwd, env={**os.environ, **places}, capture_output=True, text=True, check=False
        )

    return call


def test_the_tests_of_the_example_pass(bench: Bench, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    result = bench(
        "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path / "tests"), module="pytest", cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_lists_show_what_works_and_warn_of_what_does_not(bench: Bench) -> None:
    listed = bench("list", "methods", "--format", "json")
    assert listed.returncode == 0, listed.stderr
    rows = {row["method"]: row for row in json.loads(listed.stdout)}
    assert rows["proxy-anchor"]["loss terms"] == "proxies"
    assert "ours" in rows
    assert "cracked" not in rows
    assert listed.stderr == (
        "WARNING: The method 'cracked' of cracked 0.3, cracked:thing, cannot be loaded (RuntimeError: half written); "
        "mend or uninstall that package.\n"
    )


def test_a_method_trains_on_a_dataset_and_a_report_shows_both_under_a_protocol(bench: Bench) -> None:
    run = bench("run", "-m", "proxy-anchor", "-d", "shapes", *SMALL.split())
    assert run.returncode == 0, run.stderr
    assert "WARNING" not in run.stderr  # the broken package is nobody's business here
    found = json.loads(run.stdout)
    assert (found["method"], found["split"]) == ("proxy-anchor", "shapes-4")
    value = next(s["value"] for s in found["scores"] if (s["metric"], s["average"]) == ("mAP@all:plain", "classes"))
    report = bench("report", "--protocol", "every-class", "--kind", "main", "--kind", "runs", "--format", "json")
    assert report.returncode == 0, report.stderr
    told = json.loads(report.stdout)
    main, runs = told["tables"]
    assert main["rows"][0]["mAP@all:plain@classes"] in (f"{value:.3f}", f"**{value:.3f}**")
    assert [(row["run"], row["method"]) for row in runs["rows"]] == [("1", "proxy-anchor")]
    assert "plug-ins zs-sbir-bench-example 0.1" in told["footer"][0]
    every = bench("report", "--kind", "all", "--format", "tsv")
    assert every.returncode == 0, every.stderr
    assert "# Runs: shapes, split shapes-4" in every.stdout
    assert every.stderr.count("The kind of report 'cracked' of cracked 0.3") == 1


def test_a_file_of_embeddings_is_scored_under_the_protocol(bench: Bench, tmp_path: Path) -> None:
    """Class 1 has two queries and class 2 one: the mean over classes is not that over queries."""
    query = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    gallery = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    file = tmp_path / "embeddings.npz"
    np.savez(file, query=query, gallery=gallery, query_labels=[1, 1, 2], gallery_labels=[1, 1, 2])
    result = bench("score", str(file), "--protocol", "every-class", "--format", "json")
    assert result.returncode == 0, result.stderr
    found = {score["metric"]: score["value"] for score in json.loads(result.stdout)["scores"]}
    assert found["mAP@all:plain"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)


def test_asked_for_by_name_what_is_broken_ends_with_7_and_the_doctor_tells_all(bench: Bench) -> None:
    """One process for all calls, since each would import torch."""
    calls = [
        ["run", "-m", "cracked"],
        ["run", "-m", "hog", "-d", "cracked"],
        ["report", "--protocol", "cracked"],
        ["report", "--kind", "cracked"],
        ["score", "embeddings.npz", "--protocol", "cracked"],
        ["doctor", "--format", "json"],
    ]
    program = (
        "import json, sys; from typer.testing import CliRunner; from bench.cli.main import app\n"
        "for call in json.loads(sys.argv[1]):\n"
        "    result = CliRunner().invoke(app, call)\n"
        "    print(json.dumps([result.exit_code, result.stdout, result.stderr]))\n"
    )
    done = bench("-c", program, json.dumps(calls), module="")
    assert done.returncode == 0, done.stderr
    *asked, (_, found, _) = [json.loads(line) for line in done.stdout.splitlines()]
    why = "'cracked' of cracked 0.3, cracked:thing, cannot be loaded (RuntimeError: half written)"
    kinds = ["method", "dataset", "protocol", "kind of report", "protocol"]
    assert [(code, error.partition(";")[0]) for code, _, error in asked] == [
        (7, f"error: The {kind} {why}") for kind in kinds
    ]
    plugins = {each["name"]: each["fine"] for each in json.loads(found) if each["part"] == "plug-in"}
    assert plugins == {
        "method cracked": False,
        "method proxy-anchor": True,
        "dataset cracked": False,
        "dataset shapes": True,
        "protocol cracked": False,
        "protocol every-class": True,
        "kind of report cracked": False,
        "kind of report runs": True,
        "report format tsv": True,
    }
