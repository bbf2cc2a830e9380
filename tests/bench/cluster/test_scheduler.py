"""Cells as jobs: real processes of the local executor, what a SLURM is told, and what is said where there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission
from typer.testing import CliRunner

from bench.cli.main import app
from bench.cluster.job import CellJob
from bench.cluster.scheduler import Scheduler, gpus_here
from bench.evaluation.ranking import available_processors
from bench.results.store import NOT_YET, Store
from tests.bench.results.test_store import IDENTITY
from tests.pictures import words_of, write_folder
from tests.processes import team

WAITING = "for n in $(seq 600); do sleep 0.05; done"  # a program that ends by itself if nobody ends it
SMALL = ["--limit", "1", "--image-size", "32", "--device", "cpu"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), classes=8, images=2)


@pytest.fixture
def own_cache(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "cache"


def test_cells_run_as_processes_of_this_machine(
    runner: CliRunner, own_cache: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that works, one whose network gives no numbers: stored the first, failed the second, each with its log."""
    monkeypatch.delenv("OMP_NUM_THREADS")  # the jobs share the processors
    call = ["run", "-m", "imagenet", "-m", "softmax", *words_of(pictures, "--epochs", "0.5", "--set", "head_lr=1e38")]
    found = runner.invoke(app, [*call, "--executor", "local", "--jobs", "2", "--format", "json"])
    assert found.exit_code == 4, found.output
    assert json.loads(found.stdout)["method"] == "imagenet"
    assert "its job ended with exit code 4; 'bench list runs' names its log." in found.stderr
    assert "1 of 2 runs failed, the others are stored." in found.stderr
    rows = json.loads(runner.invoke(app, ["list", "runs", "--format", "json"]).stdout)
    assert [(row["status"], row["method"]) for row in rows] == [("done", "imagenet"), ("failed", "softmax")]
    assert (own_cache / "jobs").stat().st_mode & 0o777 == 0o700
    for row in rows:
        assert row["job"].startswith("local ")
        assert Path(row["log"]).is_relative_to(own_cache / "jobs")
    assert "lower --lr or --set head_lr=" in rows[1]["note"]
    assert f"(log {rows[1]['log']})" in rows[1]["note"]
    assert "lower --lr or --set head_lr=" in Path(rows[1]["log"]).read_text()
    report = runner.invoke(app, ["report"])
    assert report.exit_code == 0, report.output
    assert "jobs" not in report.stdout  # a path of this machine
    store = Store("bench.db")
    assert store.runs()[0].environment["threads"] == str(max(1, available_processors() // 2))
    store.close()


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_job_that_runs_out_of_time_writes_a_checkpoint_waits_and_goes_on(
    runner: CliRunner, own_cache: Path, pictures: Path
) -> None:
    """What a scheduler does before it ends a job: the signal of submitit, in the middle of the training."""
    store = Store("bench.db")
    call = ["run", "-m", "softmax", *words_of(pictures, "--epochs", "20"), "--executor", "local"]
    with ThreadPoolExecutor(1) as threads:
        sweep = threads.submit(runner.invoke, app, [*call, "--job", "timeout_min=9"])
        wait_for(lambda: sweep.done() or any((own_cache / "checkpoints").glob("*.safetensors")))
        (first,) = store.runs()
        controller = first.environment["job"].removeprefix("local ")
        (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
        os.kill(int(task), signal.SIGUSR2)
        wait_for(lambda: sweep.done() or [run.status for run in store.runs()] == ["interrupted", "queued"])
        found = sweep.result()
    assert found.exit_code == 0, found.output
    log = Path(first.environment["log"]).read_text()
    assert "Interrupted; what was finished is stored." in log
    assert "The training resumes after step" in log
    runs = store.runs()
    assert [(run.status, run.failure) for run in runs] == [("interrupted", "stopped by a signal"), ("done", "")]
    for name in ("job", "log"):
        assert runs[1].environment[name] == runs[0].environment[name]
    store.close()


def test_a_job_of_this_machine_goes_on_however_often_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit's controller starts a job six times at most, here once."""

    class Slow(CellJob):  # pickled as it is, so that a job need not import this file
        def command(self) -> list[str]:
            begin = f"n=$(cat {self.where} 2>/dev/null || echo 0); echo $((n + 1)) >{self.where}; [ $n = 2 ] && exit 0"
            return ["sh", "-c", f"{begin}; trap 'exit 143' TERM; sleep 0.3; kill -USR2 $PPID; {WAITING}"]

    once = "import sys\nif 'submitit.local._local' in sys.orig_argv:\n    from submitit.local.local import Controller"
    (tmp_path / "sitecustomize.py").write_text(f"{once}\n    Controller.run.__defaults__ = (1,)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    scheduler = Scheduler("local", tmp_path / "jobs", None, {"timeout_min": "9"})
    names: list[str] = []
    codes: list[int | None] = []
    scheduler.run_here(
        [Slow([], str(tmp_path / "count"), "none")],
        [],
        1,
        lambda position, job: names.append(job.name),
        lambda position, code: bool(codes.append(code)),
    )
    assert codes == [0]
    assert len(set(names)) == 3  # each a job of its own, with a log of its own
    assert (tmp_path / "count").read_text() == "3\n"
    assert not list((tmp_path / "jobs").glob("*.waits"))


STOPPED = f"""
import signal, sys
from pathlib import Path
from bench.cluster.job import CellJob
from bench.cluster.scheduler import Scheduler

class Patient(CellJob):
    def command(self):
        return ["sh", "-c", "trap 'echo TERM >> stopped; exit 143' TERM; touch began; {WAITING}"]

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
never = lambda position, told: False
try:
    Scheduler("local", Path("jobs"), None, {{}}).run_here([Patient([], "none", "none")], [], 1, never, never)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("begin", "number", "code"),
    [
        ("trap '' INT; ", signal.SIGTERM, 143),  # as a script begins it in the background
        ("", signal.SIGINT, 130),  # as a terminal sends Ctrl-C: to all processes
    ],
    ids=["in the background", "Ctrl-C"],
)
def test_a_sweep_that_is_stopped_stops_its_jobs(begin: str, number: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text(STOPPED)
    words = ["sh", "-c", f'{begin}exec "$@"', "sh", sys.executable, "sweep.py"]
    with (tmp_path / "said").open("w") as said:
        sweep = subprocess.Popen(words, cwd=tmp_path, start_new_session=True, stderr=said)
        wait_for((tmp_path / "began").exists)
        if number == signal.SIGINT:
            os.killpg(sweep.pid, number)
        else:
            sweep.send_signal(number)
        assert sweep.wait(60) == code
    wait_for((tmp_path / "stopped").exists, 15)
    (log,) = (tmp_path / "jobs").glob("*.err")
    wait_for(lambda: any((tmp_path / "jobs").glob("*_result.pkl")), 15)  # its controller ends, too
    assert (tmp_path / "stopped").read_text() == "TERM\n"
    assert (log.read_text(), (tmp_path / "said").read_text()) == ("", "")


def test_jobs_are_refused_once_by_processes_of_one_run(tmp_path: Path) -> None:
    call = ("run", "-m", "imagenet", *SMALL, "--executor", "local")
    leader, follower = team(tmp_path, call, call)
    assert (leader.code, follower.code) == (2, 2), leader.output
    said = "error: --executor hands cells to other processes: use it without torchrun."
    assert leader.output.strip() == said
    assert follower.output == ""


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
    told = json.loads(found.stdout)
    assert [row["job"] for row in told] == ["slurm 4242_0", "slurm 4242_1", "slurm 4242_2"]
    script = Path("submitted.sh").read_text()
    for line in ("#SBATCH --array=0-2%2", "#SBATCH --partition=long", "#SBATCH --time=90", "#SBATCH --job-name=bench"):
        assert line in script
    assert "--signal=USR2@90" in script  # seconds before the end, when checkpoints are written
    for handed in (own_cache / "jobs").glob("*_submitted.pkl"):  # one that submitit cannot ask for this is not requeued
        assert isinstance(DelayedSubmission.load(handed)._checkpoint_function(), DelayedSubmission)
    listed = runner.invoke(app, ["list", "runs", "--status", "queued", "--format", "json"])
    rows = json.loads(listed.stdout)
    assert [(row["status"], row["seed"], row["log"]) for row in rows] == [
        ("queued", n, told[n]["log"]) for n in range(3)
    ]
    assert rows[0]["note"] == f"waits as job slurm 4242_0 (log {told[0]['log']})"
    # What a node would do: the cell's claim makes the queued run a running one.
    ended = runner.invoke(app, ["run", "-m", "imagenet", *SMALL, "--seed", "1"])
    assert ended.exit_code == 0, ended.output
    rows = json.loads(runner.invoke(app, ["list", "runs", "--format", "json"]).stdout)
    assert [(row["status"], row["job"]) for row in rows] == [
        ("queued", "slurm 4242_0"),
        ("done", "slurm 4242_1"),
        ("queued", "slurm 4242_2"),
    ]
    unknown = runner.invoke(app, [*call, "--job", "partitoin=long"])
    assert unknown.exit_code == 2
    assert "--job takes parameters of submitit's slurm executor" in unknown.stderr


def test_jobs_share_the_gpus_that_their_sweep_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names that it was given; where there are none to share out, jobs see what it sees."""

    class Tells(CellJob):
        def command(self) -> list[str]:
            return ["sh", "-c", f'echo "$CUDA_VISIBLE_DEVICES" >> {self.where}']

    assert gpus_here(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6,7")
    assert gpus_here(2) == ["4", "6"]
    for gpus, expected in ((["4", "6"], "4\n6\n"), ([], "4, 6,7\n4, 6,7\n")):
        told = tmp_path / f"told{len(gpus)}"
        Scheduler("local", tmp_path / "jobs", None, {}).run_here(
            [Tells([], str(told), "none") for _ in range(2)], gpus, 1, lambda *_: None, lambda *_: False
        )
        assert "".join(sorted(told.read_text().splitlines(keepends=True))) == expected


def test_a_job_that_begins_before_its_name_is_known_is_told_it(store: Store) -> None:
    first = store.queue(IDENTITY, {"job": NOT_YET})
    assert store.claim(IDENTITY).run == first
    assert store.queue(IDENTITY, {"job": "slurm 1", "log": "a"}) == first
    (run,) = store.runs()
    assert (run.status, run.environment["job"], run.environment["log"]) == ("running", "slurm 1", "a")
    store.fail(first, "failed", "why")
    assert store.queue(IDENTITY, {"job": "slurm 2", "log": "b"}) != first


def test_a_password_is_not_among_the_words_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All users of a machine see them; what a process has in its environment only its own user sees."""
    where, told = "postgresql://me:secret@host/base", tmp_path / "told"
    job = CellJob(["--store", where, "--data-root", "/data", "run", "-d", "emoji"], where, "key")
    command = job.command()
    assert command[1:] == ["-m", "bench", "--data-root", "/data", "run", "-d", "emoji"]
    monkeypatch.setattr(job, "command", lambda: ["sh", "-c", f'printf %s "$BENCH_STORE" > {told}'])
    assert job() == 0
    assert told.read_text() == where


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--executor", "slurm", "--fail-fast"], "--fail-fast cannot stop the jobs of a cluster"),
        (["--executor", "slurm"], "There is no SLURM on this machine"),
        (["--executor", "lokal"], "There is no executor 'lokal'. Did you mean 'local'?"),
        (["--executor", "local", "--job", "partition=x"], "--job partition is no parameter of the local executor."),
        (["--executor", "local", "--job", "timeout"], "--job takes KEY=VALUE, not 'timeout'."),
        (["--executor", "local", "--job", "=3"], "--job takes KEY=VALUE, not '=3'."),
        (
            ["--executor", "local", "--job", "timeout_min=abc"],
            "--job timeout_min takes a whole number from 1, not 'abc'.",
        ),
        (["--executor", "local", "--job", "timeout_min=0"], "--job timeout_min takes a whole number from 1, not '0'."),
        (
            ["--executor", "local", "--job", "timeout_min=0.2"],
            "--job timeout_min takes a whole number from 1, not '0.2'.",
        ),
        (
            ["--executor", "local", "--job", "timeout_min=1", "--job", "signal_delay_s=60"],
            "--job signal_delay_s (60 seconds before the end a job writes its checkpoint) leaves no time",
        ),
        (["--jobs", "2"], "--jobs and --job are for jobs: name an --executor, local or slurm."),
    ],
)
def test_mistakes(words: list[str], message: str, runner: CliRunner, own_cache: Path) -> None:
    found = runner.invoke(app, ["run", "-m", "imagenet", *SMALL, *words])
    assert found.exit_code == 2, found.output
    assert f"error: {message}" in found.stderr
    assert not Path("bench.db").exists()


def test_without_the_extra_the_cells_can_be_printed_and_run_by_anything(
    runner: CliRunner, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    call = ["ablate", "-m", "ours", *SMALL, "--structural", "--set", "dim=16", "--seed", "3", "--executor", "slurm"]
    found = runner.invoke(app, call)
    assert found.exit_code == 2
    assert (
        "the project's extra 'cluster' (submitit): install it, or let another scheduler run the cells" in found.stderr
    )
    printed = runner.invoke(app, [*call, "--dry-run", "--format", "json"])
    assert printed.exit_code == 0, printed.output
    cells = json.loads(printed.stdout)
    assert len(cells) == 3
    for cell in cells:
        program, *words = cell["command"]
        assert program == "bench"
        again = json.loads(runner.invoke(app, [*words, "--dry-run", "--format", "json"]).stdout)
        assert [(each["key"], each["cell"]) for each in again] == [(cell["key"], cell["cell"])]


def test_a_job_that_does_not_even_begin_is_marked_failed(tmp_path: Path) -> None:
    where = str(tmp_path / "bench.db")
    store = Store(where)
    store.queue(IDENTITY, {"job": "slurm 7", "log": "7.err"})
    assert CellJob(["run", "-m", "no such method"], where, IDENTITY["key"])() == 2
    assert [(run.status, run.failure) for run in store.runs()] == [
        ("failed", "its job ended with exit code 2 before it began")
    ]
    store.close()


def test_a_queued_run_is_taken_by_whoever_claims_it_and_handed_in_twice_it_is_one(store: Store) -> None:
    first = store.queue(IDENTITY, {"job": "slurm 1", "log": "a"})
    assert store.queue(IDENTITY, {"job": "slurm 2", "log": "b"}) == first
    claim = store.claim({**IDENTITY, "environment": {"torch": "2"}})
    assert claim.run == first
    (run,) = store.runs()
    assert (run.status, dict(run.environment)) == ("running", {"torch": "2", "job": "slurm 2", "log": "b"})
    store.unqueue(IDENTITY["key"], "failed", "too late")
    assert store.runs()[0].status == "running"


def test_a_job_whose_store_is_out_of_reach_ends_with_its_code(tmp_path: Path) -> None:
    where = str(tmp_path / "nowhere" / "bench.db")
    assert CellJob(["--store", where, "run", "-m", "imagenet", *SMALL], where, "none")() == 6
