"""Cells as jobs of a scheduler, through submitit: one job a cell, which goes on where it was when its time is over.

submitit keeps each job in a file that it pickles, writes and reads itself, in a folder of its own; what is in it here
is a list of words, and the harness loads nothing that way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import StorageError, UsageError, nearest
from bench.store import Store

EXECUTORS = ("local", "slurm")
POLL_SECONDS = 0.5
TIMEOUTS = 1000  # how often a job may run out of time and go on: it loses no more than a step each time
LOCAL_PARAMETERS = ("timeout_min", "signal_delay_s", "gpus_per_node")
LOCAL_MINUTES = 60 * 24 * 365  # submitit wants a limit; nobody waits for a job of this machine to be over


class CellJob:
    """``bench WORDS`` as a job; ``key`` is the cell's, ``where`` its store, ``threads`` its share of a machine's.

    Calling it runs the program in a process of its own and gives its exit code. Before the scheduler ends it for lack
    of time, ``checkpoint`` has the program write its checkpoint, and hands the job in again.
    """

    def __init__(self, words: Sequence[str], where: str, key: str, threads: int | None = None) -> None:
        self.words, self.where, self.key, self.threads = tuple(words), where, key, threads
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting: threading.Thread | None = None

    def __call__(self) -> int:
        """Run the program; its exit code. A cell that did not even begin is marked failed in the store."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
        if self.threads is not None:  # more threads than processors wait for each other most of the time
            environment.setdefault("OMP_NUM_THREADS", str(self.threads))
        child = subprocess.Popen([sys.executable, "-m", "bench", *self.words], env=environment)
        # Waited for by a thread: a signal's handler, which interrupts this one, can wait for it then too.
        self._child, self._waiting = child, threading.Thread(target=child.wait, daemon=True)
        self._waiting.start()
        try:
            while self._waiting.is_alive():
                self._waiting.join(POLL_SECONDS)
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        if child.returncode:
            with suppress(StorageError):  # a store that is out of reach may be why the program ended
                store = Store(self.where)
                store.unqueue(self.key, "failed", f"its job ended with exit code {child.returncode} before it began")
                store.close()
        return int(child.returncode)

    def checkpoint(self) -> Any:
        """Stop the program, which writes its checkpoint, and give the same job to be submitted again."""
        from submitit.helpers import DelayedSubmission

        if self._child is not None and self._waiting is not None:
            self._child.send_signal(signal.SIGTERM)
            self._waiting.join()
        return DelayedSubmission(CellJob(self.words, self.where, self.key, self.threads))


@dataclass(frozen=True)
class Submitted:
    """A job of a scheduler: what it is called there, where its log is, and submitit's handle of it."""

    name: str
    log: Path
    handle: Any


@dataclass(frozen=True)
class Scheduler:
    """One of ``EXECUTORS``: ``folder`` takes logs and submitit's files, ``parameters`` are submitit's for it, as text.

    ``at_once`` jobs run at the same time at most; None leaves it to the cluster, and means one for each GPU, or one, on
    this machine.

    Raises UsageError when the extra or the scheduler is not there, or does not know a parameter.
    """

    executor: str
    folder: Path
    at_once: int | None
    parameters: Mapping[str, str]

    def check(self) -> None:
        """Raise UsageError when jobs cannot be submitted."""
        self._made(1, 0)

    def submit(self, jobs: Sequence[CellJob]) -> list[Submitted]:
        """Hand all jobs to the cluster as one array."""
        handles = self._made(len(jobs), 0).map_array(CellJob.__call__, jobs)
        return [self._told(handle) for handle in handles]

    def run_here(
        self, jobs: Sequence[CellJob], gpus: int, processors: int, begun: Callable[[int, Submitted], None]
    ) -> list[int | None]:
        """Run all jobs in processes of this machine, ``at_once`` at a time; exit codes by job, None for one that died.

        They share the ``processors``. ``begun`` is told the position of a job that starts. Stopped, it stops the jobs,
        which write checkpoints.
        """
        slots = list(range(min(len(jobs), self.at_once or max(1, gpus))))
        for job in jobs:
            job.threads = max(1, processors // len(slots)) if len(slots) > 1 else None
        todo, codes = list(range(len(jobs))), [None] * len(jobs)  # type: list[int], list[int | None]
        running: dict[int, tuple[int, Submitted]] = {}
        try:
            while todo or running:
                while todo and slots:
                    slot, position = slots.pop(0), todo.pop(0)
                    handed = self._told(self._made(len(jobs), gpus, slot).submit(jobs[position]))
                    running[slot] = (position, handed)
                    begun(position, handed)
                for slot, (position, handed) in list(running.items()):
                    if handed.handle.done():
                        codes[position] = _exit_code(handed)
                        del running[slot]
                        slots.append(slot)
                time.sleep(POLL_SECONDS)
        finally:
            for _, handed in running.values():
                handed.handle.cancel(check=False)
        return codes

    def _made(self, count: int, gpus: int, slot: int = 0) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise UsageError(
                "--executor needs the project's extra 'cluster' (submitit): install it, or let another scheduler run "
                "the cells that --dry-run --format json prints."
            ) from error
        chosen: dict[str, Any] = {name: _value(text) for name, text in self.parameters.items()}
        unknown = [name for name in chosen if self.executor == "local" and name not in LOCAL_PARAMETERS]
        if unknown:  # submitit passes over them in silence
            raise UsageError(
                f"--job {unknown[0]} is no parameter of the local executor. {nearest(unknown[0], LOCAL_PARAMETERS)}"
            )
        for name in chosen if self.executor == "local" else ():
            least = 0 if name == "gpus_per_node" else 1
            if not isinstance(chosen[name], int) or chosen[name] < least:
                raise UsageError(f"--job {name} takes a whole number from {least}, not {self.parameters[name]!r}.")
        try:
            if self.executor == "local":
                # Each job has a GPU of its own where there are some; submitit hides them all otherwise.
                own = {"gpus_per_node": 1, "visible_gpus": (slot % gpus,)} if gpus else {}
                made = submitit.LocalExecutor(self.folder, max_num_timeout=TIMEOUTS)
                made.update_parameters(**{"timeout_min": LOCAL_MINUTES, **own, **chosen})
                return made
            limit = {"array_parallelism": self.at_once} if self.at_once else {"array_parallelism": count}
            cluster = submitit.SlurmExecutor(self.folder, max_num_timeout=TIMEOUTS)
            cluster.update_parameters(**{"job_name": "bench", "time": 60 * 24, **limit, **chosen})
            return cluster
        except RuntimeError as error:
            raise UsageError(
                f"There is no SLURM on this machine ({error}): submit from a login node, take --executor local, or let "
                "another scheduler run the cells that --dry-run --format json prints."
            ) from error
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"--job takes parameters of submitit's {self.executor} executor ({str(error).splitlines()[0]})."
            ) from error

    def _told(self, handle: Any) -> Submitted:
        return Submitted(f"{self.executor} {handle.job_id}", Path(handle.paths.stderr), handle)


def _exit_code(job: Submitted) -> int | None:
    try:
        return int(job.handle.result())
    except Exception:  # whatever submitit says of a job that was killed
        return None


def _value(text: str) -> Any:
    """A parameter's text as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
