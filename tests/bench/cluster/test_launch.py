"""Runs as jobs: real processes of the local executor, and what SLURM gets."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from submitit.core.utils import DelayedSubmission
from typer.testing import CliRunner

from bench.cli.jobs import choose_executor
from bench.cli.main import app
from bench.cli.options import RunOptions
from bench.cluster.launch import Job, gpus_here
from bench.distributed.process_group import Processes
from bench.errors import UsageError
from bench.experiments.experiment import Resources
from bench.provenance import available_processors
from bench.results.store import ELSEWHERE, Store
from bench.settings.request import Request
from tests.bench.results.test_store import IDENTITY, finish
from tests.pictures import words_of, write_folder

SMALL = ["--limit", "1", "--image-size", "32", "--device", "cpu"]
JOB = {"job": "slurm 7_1", "log": "7_1.err"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), classes=8, images=2)


@pytest.fixture
def own_cache(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "cache"


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_runs_are_processes_of_this_machine(
    runner: CliRunner, own_cache: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One succeeds and is stored, one diverges and fails; each has its log."""
    monkeypatch.delenv("OMP_NUM_THREADS")  # the jobs share the processors
    call = ["run", "-m", "imagenet", "-m", "softmax", *words_of(pictures, "--epochs", "0.5", "--set", "head_lr=1e38")]
    found = runner.invoke(app, [*call, "--executor", "local", "--jobs", "2", "--format", "json"])
    assert found.exit_code == 4, found.output
    assert json.loads(found.stdout)["runs"][0]["method"] == "imagenet"
    assert "its job ended with exit code 4; 'bench list runs' names its log." in found.stderr
    assert "1 of 2 runs failed, the others are stored." in found.stderr
    rows = json.loads(runner.invoke(app, ["list", "runs", "--format", "json"]).stdout)["runs"]
    assert [(row["status"], row["method"]) for row in rows] == [("done", "imagenet"), ("failed", "softmax")]
    assert (own_cache / "jobs").stat().st_mode & 0o777 == 0o700
    for row in rows:
        assert row["job"].startswith("local ")
        assert Path(row["log"]).is_relative_to(own_cache / "jobs")
    assert "lower --lr or --set head_lr=" in rows[1]["note"]
    assert f"(log {rows[1]['log']})" in rows[1]["note"]
    assert "lower --lr or --set head_lr=" in Path(rows[1]["log"]).read_text()
    assert "embedding: " in Path(rows[0]["log"]).read_text()  # its progress
    assert str(own_cache) not in runner.invoke(app, ["report"]).stdout  # a path of this machine
    store = Store("bench.db")
    assert store.runs()[0].environment["threads"] == str(max(1, available_processors() // 2))
    store.close()


def test_a_job_that_runs_out_of_time_resumes_from_its_checkpoint(
    runner: CliRunner, own_cache: Path, pictures: Path
) -> None:
    """The job gets submitit's signal in the middle of the training."""
    store = Store("bench.db")
    call = ["run", "-m", "softmax", *words_of(pictures, "--epochs", "10"), "--executor", "local"]
    seen: list[list[str]] = []

    def queued_again() -> bool:
        seen.append([run.status for run in store.runs()])
        return sweep.done() or seen[-1] == ["interrupted", "queued"]

    with ThreadPoolExecutor(1) as threads:
        sweep = threads.submit(runner.invoke, app, [*call, "--job", "timeout_min=9"])
        wait_for(lambda: sweep.done() or any((own_cache / "checkpoints").glob("*.safetensors")))
        (first,) = store.runs()
        controller = first.environment["job"].removeprefix("local ")
        (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
        os.kill(int(task), signal.SIGUSR2)
        wait_for(queued_again)
        found = sweep.result()
    assert found.exit_code == 0, found.output
    assert ["interrupted", "queued"] in seen
    first, second = store.runs()
    assert [(run.status, run.failure) for run in (first, second)] == [
        ("interrupted", "stopped by a signal"),
        ("done", ""),
    ]
    assert "Interrupted; what was finished is stored." in Path(first.environment["log"]).read_text()
    assert "The training resumes after step" in Path(second.environment["log"]).read_text()
    store.close()


def test_ranks_of_one_run_start_no_jobs(tmp_path: Path) -> None:
    resources = Resources(tmp_path, tmp_path, processes=Processes(rank=1, size=2))
    with pytest.raises(UsageError, match="without torchrun"):
        choose_executor(RunOptions(executor="local"), resources)


def test_a_cluster_is_given_an_array_with_its_limit(
    runner: CliRunner, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", 'cat "$1" > submitted.sh; echo "Submitted batch job 4242"'), ("srun", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    call = ["run", "-m", "imagenet", *SMALL, "--seeds", "3", "--executor", "slurm", "--jobs", "2"]
    found = runner.invoke(app, [*call, "--job", "partition=long", "--job", "time=90", "--format", "json"])
    assert found.exit_code == 0, found.output
    printed = json.loads(found.stdout)["jobs"]
    assert [row["job"] for row in printed] == ["slurm 4242_0", "slurm 4242_1", "slurm 4242_2"]
    script = Path("submitted.sh").read_text()
    for line in ("#SBATCH --array=0-2%2", "#SBATCH --partition=long", "#SBATCH --time=90", "#SBATCH --job-name=bench"):
        assert line in script
    assert "--signal=USR2@90" in script  # seconds before the end, when checkpoints are written
    for file in (own_cache / "jobs").glob("*_submitted.pkl"):  # submitit requeues what gives it a checkpoint
        assert isinstance(DelayedSubmission.load(file)._checkpoint_function(), DelayedSubmission)
    listed = runner.invoke(app, ["list", "runs", "--status", "queued", "--format", "json"])
    rows = json.loads(listed.stdout)["runs"]
    assert [(row["status"], row["seed"], row["log"]) for row in rows] == [
        ("queued", n, printed[n]["log"]) for n in range(3)
    ]
    assert rows[0]["note"] == f"waits as job slurm 4242_0 (log {printed[0]['log']})"
    # What a node does: the claim of a key takes its queued run.
    ended = runner.invoke(app, ["run", "-m", "imagenet", *SMALL, "--seed", "1"])
    assert ended.exit_code == 0, ended.output
    rows = json.loads(runner.invoke(app, ["list", "runs", "--format", "json"]).stdout)["runs"]
    assert [(row["status"], row["job"]) for row in rows] == [
        ("queued", "slurm 4242_0"),
        ("done", "slurm 4242_1"),
        ("queued", "slurm 4242_2"),
    ]
    unknown = runner.invoke(app, [*call, "--job", "partitoin=long"])
    assert unknown.exit_code == 2
    assert "--job takes parameters of submitit's slurm executor" in unknown.stderr


def test_gpus_have_the_names_that_the_sweep_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus_here(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6,7")
    assert gpus_here(2) == ["4", "6"]


def test_a_password_is_in_no_file_of_a_job(tmp_path: Path) -> None:
    for where in ("postgresql://me:topsecret@host/base", "postgresql://host/base?password=topsecret"):
        file = tmp_path / "job.pkl"
        experiment: Any = SimpleNamespace(title="imagenet", request=Request("imagenet", "emoji"), identity={})
        job = Job(experiment, Resources(tmp_path, tmp_path), where, force=False, observer=nullcontext)
        DelayedSubmission(job).dump(file)
        assert b"topsecret" not in file.read_bytes()


def test_a_queued_run_is_taken_by_whoever_claims_it_and_queued_twice_it_is_one(store: Store) -> None:
    first = store.queue(IDENTITY, {"job": "slurm 1", "log": "a"})
    assert store.queue(IDENTITY, JOB) == first
    claim = store.claim({**IDENTITY, "environment": {"torch": "2", "job": "slurm 7_1"}})
    assert claim.run == first
    store.name_job(first, {"job": "too late"})
    store.unqueue(IDENTITY["key"], "failed", "too late")
    (run,) = store.runs()
    assert (run.status, dict(run.environment)) == ("running", {"torch": "2", **JOB})


def test_a_job_whose_run_is_stored_meanwhile_does_not_wait_for_ever(store: Store) -> None:
    run = store.begin(IDENTITY)
    store.queue(IDENTITY, JOB)
    finish(store, run, (), {})
    assert store.claim(IDENTITY).answer == "done"
    assert [(run.status, run.failure) for run in store.runs()] == [("done", ""), ("interrupted", ELSEWHERE)]
