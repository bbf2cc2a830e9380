"""A run whose weights are missing downloads them; where that fails, every report marks the run of the stand-in."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import socket
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.folder import Folder
from bench.experiments.resolve import choose_weights
from bench.methods.backbone import fetch_weights
from bench.methods.backbone.published_weights import PACKAGED, default_file
from bench.reports.base import FORMATS
from bench.results.store import Store
from bench.settings.request import Request
from tests.pictures import write_folder
from tests.weights_server import NAME, Server, content, publish, server

__all__ = ["content", "server"]  # fixtures

MARK = f"no weights of {NAME}"


@pytest.fixture(autouse=True)
def default_backbone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dataset whose default backbone is the small network of the server."""
    monkeypatch.setattr(Folder, "recipe", {"backbone": NAME, "image_size": 32})
    write_folder(tmp_path / "pictures", classes=3, images=2)


@pytest.fixture
def out_of_reach(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server that is gone."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", url)
    return url


def bench_run(runner: CliRunner, *words: str) -> Result:
    call = ["run", "-m", "imagenet", "-d", "folder", "--set", "root=pictures", "--set", "unseen=all", *words]
    return runner.invoke(app, [*call, "--device", "cpu", "--format", "json"])


@pytest.mark.parametrize("torchvision", [False, True])
def test_missing_weights_are_downloaded_and_their_hash_is_in_the_key(
    torchvision: bool, server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torchvision:
        publish(content, monkeypatch)
    done = bench_run(runner)
    assert done.exit_code == 0, done.output
    assert "Downloading" in done.stderr
    (run,) = Store("bench.db").runs()
    digest = hashlib.sha256(content).hexdigest()
    assert (run.configuration["run"]["backbone"], run.title) == (NAME, f"frozen {NAME}")
    assert run.configuration["run"]["weights"] == f"sha256:{digest}"
    before = server.sent
    assert json.loads(bench_run(runner).stdout)["runs"][0]["already_done"]
    assert server.sent == before


def test_a_named_backbone_is_downloaded_too(server: Server) -> None:
    request, _ = choose_weights(Request("imagenet", "emoji", assignments=(f"backbone={NAME}",)))
    assert request.assignments[-1] == f"weights={default_file(NAME)}"


def test_a_stored_run_gets_its_weights_by_their_hash_and_no_others(server: Server, content: bytes) -> None:
    def choose(digest: str) -> Request:
        assignments = (f"backbone={NAME}", f"weights=sha256:{digest}")
        return choose_weights(Request("imagenet", "emoji", assignments=assignments))[0]

    with pytest.raises(fetch_weights.LoadingError, match="another hash"):
        choose("0" * 64)
    assert server.sent == 0
    assert choose(hashlib.sha256(content).hexdigest()).assignments[-1] == f"weights={default_file(NAME)}"


def test_a_dry_run_downloads_nothing(server: Server, runner: CliRunner) -> None:
    done = bench_run(runner, "--dry-run")
    assert (done.exit_code, "will be downloaded" in done.stderr) == (0, True), done.output
    assert json.loads(done.stdout)["runs"][0]["state"] == "to run"
    assert server.requests == 0


def test_a_dry_run_without_published_weights_fails_as_the_run_would(server: Server, runner: CliRunner) -> None:
    done = bench_run(runner, "--dry-run", "--backbone", "vit_small_patch16_18x2_224")
    assert (done.exit_code, "none are published" in done.stderr) == (7, True), done.output


def test_offline_nothing_is_asked_of_a_server(server: Server, runner: CliRunner) -> None:
    done = bench_run(runner, "--offline")
    assert NAME in json.loads(done.stdout)["runs"][0]["warning"]
    assert "BENCH_OFFLINE forbids it" in done.stderr
    assert server.requests == 0


def test_a_server_out_of_reach_is_named_at_once_and_asked_once(
    out_of_reach: str, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    check = fetch_weights.check_server
    monkeypatch.setattr(fetch_weights, "check_server", lambda url: [asked.append(url), check(url)])
    begun = time.perf_counter()
    done = bench_run(runner, "--seeds", "3", "--dry-run")
    assert not asked
    done = bench_run(runner, "--seeds", "3", "--limit", "1")
    assert time.perf_counter() - begun < 60
    assert asked == [out_of_reach]
    warning = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warning) == 1
    assert "127.0.0.1 cannot be reached" in warning[0]


def test_a_server_that_sends_nothing_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_weights, "SECONDS_TO_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert fetch_weights.why_not_fetched(NAME) == "127.0.0.1 sent nothing for 0.2 seconds"


def test_a_named_backbone_never_gives_way(out_of_reach: str, runner: CliRunner) -> None:
    done = bench_run(runner, "--backbone", NAME)
    assert (done.exit_code, "127.0.0.1 cannot be reached" in done.stderr) == (7, True), done.output
    assert not Path("bench.db").exists()


def test_the_warning_stands_beside_every_figure(out_of_reach: str, runner: CliRunner) -> None:
    assert json.loads(bench_run(runner).stdout)["runs"][0]["warning"]
    (run,) = Store("bench.db").runs()
    assert (run.configuration["run"]["backbone"], MARK in run.title) == (PACKAGED, True)
    for name in FORMATS.names():
        report = runner.invoke(app, ["report", "--kind", "all", "--format", name])
        assert report.exit_code == 0, report.output
        if name == "csv":
            rows = list(csv.DictReader(report.stdout.splitlines()))
            figures = [row for row in rows if re.fullmatch(r"\d+\.\d+", row["value"])]
            assert figures
            assert not [row for row in figures if NAME not in row["row"] + row["key"] + row["table"]]
        if name == "json":
            tables = json.loads(report.stdout)["tables"]
            assert all(MARK in str(table) for table in tables), tables
        assert "were not available" in report.stdout or name == "csv"
    assert MARK in runner.invoke(app, ["report"]).stdout
    assert MARK in runner.invoke(app, ["list", "runs"]).stdout
