"""Signals to a sweep and to its jobs: real processes of submitit, whose job only sleeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.results.store import Store
from tests.bench.cluster.test_launch import wait_for
from tests.bench.results.test_store import IDENTITY

SWEEP = """
import os, signal, sys, time
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from bench.cluster.launch import Executor, Job
from bench.signals import Terminated
from submitit.core.utils import DelayedSubmission

class Slow(Job):  # pickled as it is, so that a job need not import this file
    def run(self, facts):
        CODE

class Early(Executor):
    def create(self, count):
        made = super().create(count)
        submit = made.submit
        def submit_and_signal(job):
            submitted = submit(job)
            Path("controller").write_text(submitted.job_id)
            signal.raise_signal(int(sys.argv[2]))
            return submitted
        made.submit = submit_and_signal
        return made

def terminate(number, frame):
    raise Terminated

signal.signal(signal.SIGTERM, terminate)
names, codes = [], []
experiment = Namespace(title="slow", request=None, identity=IDENTITY)
job = Slow(experiment, Namespace(), "bench.db", force=False, observer=nullcontext)
if sys.argv[1:2] == ["dump"]:  # written as submitit does for a cluster
    submission = DelayedSubmission(job)
    submission.set_timeout(60, 5)
    submission.dump(sys.argv[2])
    sys.exit()
kind = Early if sys.argv[1:2] == ["early"] else Executor
try:
    kind("local", Path("jobs"), None, {"timeout_min": "9"}).run_here(
        [job], "none", ["5"], 1, lambda n, facts: names.append(facts["job"]), lambda n, code: codes.append(code)
    )
except KeyboardInterrupt as error:
    sys.exit(143 if isinstance(error, Terminated) else 130)
print(len(set(names)), codes)
"""
STOPS = """
        try:
            Path("began").touch()
            time.sleep(60)
        except KeyboardInterrupt:
            Path("stopped").open("a").write("TERM ")
            raise
"""
TIMES_OUT = """
        number = len(list(Path().glob("time *")))
        Path(f"time {number}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        if number < 2:
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(60)
        return 0
"""


def sweep(folder: Path, code: str) -> list[str]:
    """The words that start a sweep of one job, which does ``code``."""
    (folder / "sweep.py").write_text(
        SWEEP.replace("        CODE", code.strip("\n")).replace("IDENTITY", repr(IDENTITY))
    )
    return [sys.executable, "sweep.py"]


@pytest.mark.parametrize(
    ("begin", "number", "code"),
    [
        ("trap '' INT; ", signal.SIGTERM, 143),  # as a script starts it in the background
        ("", signal.SIGINT, 130),  # as a terminal sends Ctrl-C: to all processes
    ],
    ids=["in the background", "Ctrl-C"],
)
def test_a_sweep_that_is_stopped_stops_its_jobs(begin: str, number: int, code: int, tmp_path: Path) -> None:
    words = ["sh", "-c", f'{begin}exec "$@"', "sh", *sweep(tmp_path, STOPS)]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(words, cwd=tmp_path, start_new_session=True, stderr=output)
        wait_for((tmp_path / "began").exists)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        assert process.wait(60) == code
    wait_for(lambda: any((tmp_path / "jobs").glob("*_result.pkl")), 15)  # its controller ends, too
    assert (tmp_path / "stopped").read_text() == "TERM "
    (log,) = (tmp_path / "jobs").glob("*.err")
    assert log.read_text() == "Interrupted; what was finished is stored.\n"
    assert (tmp_path / "output").read_text() == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_a_job_starts_stops_it_too(number: int, code: int, tmp_path: Path) -> None:
    process = subprocess.run([*sweep(tmp_path, STOPS), "early", str(int(number))], cwd=tmp_path, check=False)
    assert process.returncode == code
    state = Path(f"/proc/{(tmp_path / 'controller').read_text()}/stat")
    wait_for(lambda: not state.exists() or " Z " in state.read_text(), 15)
    assert not (tmp_path / "began").exists()


def test_each_attempt_of_a_local_job_is_a_job_of_its_own(tmp_path: Path) -> None:
    """So submitit's limit of six attempts does not apply."""
    output = subprocess.check_output(sweep(tmp_path, TIMES_OUT), cwd=tmp_path, text=True)
    assert output == "3 [0]\n"
    assert {file.read_text() for file in tmp_path.glob("time *")} == {"5"}  # the GPU that it was given
    store = Store(str(tmp_path / "bench.db"))
    (run,) = store.runs()
    assert run.status == "queued"
    assert Path(run.environment["log"]).exists()
    store.close()


def test_a_cluster_job_that_is_out_of_time_is_queued_and_requeued(tmp_path: Path) -> None:
    """The process that ``srun`` starts, submitit's handler of the signal included."""
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" > requeued\n')
    (tmp_path / "scontrol").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([*sweep(tmp_path, TIMES_OUT), "dump", "4242_submitted.pkl"], cwd=tmp_path, check=True)
    job = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "4242", "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, "-m", "submitit.core._submit", str(tmp_path)]
    subprocess.run(words, cwd=tmp_path, env={**os.environ, **job, "PATH": path}, stderr=subprocess.DEVNULL, check=False)
    assert (tmp_path / "requeued").read_text() == "requeue 4242\n"
    store = Store(str(tmp_path / "bench.db"))
    (run,) = store.runs()
    assert (run.status, run.environment["job"]) == ("queued", "slurm 4242")
    store.close()
