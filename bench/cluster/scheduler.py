"""Handing cells to a scheduler, through submitit: one job a cell, which goes on where it was when its time is over.

submitit keeps each job in a file that it pickles, writes and reads itself, in a folder of its own; what is in it here
is a list of words, and the harness loads nothing that way.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cluster.job import POLL_SECONDS, CellJob
from bench.errors import UsageError, nearest

EXECUTORS = ("local", "slurm")
TIMEOUTS = 1000  # how often a job may run out of time and go on: it loses no more than a step each time
LOCAL_PARAMETERS = ("timeout_min", "signal_delay_s")
SIGNAL_DELAY = 30  # submitit's own: seconds before a job's time is over in which it may write a checkpoint
LOCAL_MINUTES = 60 * 24 * 365  # submitit wants a limit; nobody waits for a job of this machine to be over


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
        self._made(1)

    def submit(self, jobs: Sequence[CellJob]) -> list[Submitted]:
        """Hand all jobs to the cluster as one array."""
        # Not map_array(CellJob.__call__, ...): submitit asks what it calls for ``checkpoint``, and a function has none.
        self._make_folder()
        return [self._told(handle) for handle in self._made(len(jobs)).submit_array(jobs)]

    def run_here(
        self,
        jobs: Sequence[CellJob],
        gpus: Sequence[str],
        processors: int,
        begun: Callable[[int, Submitted], None],
        ended: Callable[[int, int | None], bool],
    ) -> None:
        """Run all jobs in processes of this machine, ``at_once`` at a time; they share the ``processors``.

        ``gpus`` are the names of those to share out, one a job; without any, all jobs see what this process sees.

        ``begun`` is told the position of a job that starts, ``ended`` that of one that is over, with its exit code or
        None for one that gave none; where it answers True, the job at this position runs once more. Stopped, it stops
        the jobs, which write checkpoints.
        """
        self._make_folder()
        slots = list(range(min(len(jobs), self.at_once or max(1, len(gpus)))))
        share = max(1, processors // len(slots)) if len(slots) > 1 else None
        todo, rounds = list(range(len(jobs))), Counter[int]()
        running: dict[int, tuple[int, CellJob, Submitted]] = {}
        try:
            while todo or running:
                while todo and slots:
                    slot, position = slots.pop(0), todo.pop(0)
                    job = jobs[position]
                    job.threads, job.mark = share, self.folder / f"{uuid.uuid4().hex}.waits"
                    job.gpus = gpus[slot % len(gpus)] if gpus else os.environ.get("CUDA_VISIBLE_DEVICES")
                    executor = self._made(len(jobs))
                    with _heirs_ignore_interrupts():
                        handed = self._told(executor.submit(job))
                    running[slot] = (position, job, handed)
                    begun(position, handed)
                for slot, (position, job, handed) in list(running.items()):
                    if not handed.handle.done():
                        continue
                    del running[slot]
                    slots.append(slot)
                    # submitit's controller hands a job in again a few times, and then ends without a word.
                    rounds[position] += job.waits()
                    if job.waits() and rounds[position] < TIMEOUTS:
                        todo.insert(0, position)
                    elif ended(position, _exit_code(handed)):
                        todo.append(position)
                    job.forget()
                time.sleep(POLL_SECONDS)
        finally:
            for _, job, handed in running.values():
                _stop(handed)
                job.forget()

    def _make_folder(self) -> None:
        """For this user alone: what others wrote there would be run, and a job's store may hold a password."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(PermissionError):  # a folder of another user
            self.folder.chmod(0o700)

    def _made(self, count: int) -> Any:
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
            if not isinstance(chosen[name], int) or chosen[name] < 1:
                raise UsageError(f"--job {name} takes a whole number from 1, not {self.parameters[name]!r}.")
        delay = chosen.get("signal_delay_s", SIGNAL_DELAY)
        if self.executor == "local" and delay >= 60 * chosen.get("timeout_min", LOCAL_MINUTES):
            raise UsageError(
                f"--job signal_delay_s ({delay} seconds before the end a job writes its checkpoint) leaves no time to "
                "compute: raise --job timeout_min, or lower it."
            )
        try:
            if self.executor == "local":
                made = submitit.LocalExecutor(self.folder, max_num_timeout=TIMEOUTS)
                made.update_parameters(**{"timeout_min": LOCAL_MINUTES, "signal_delay_s": delay, **chosen})
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


def gpus_here(count: int) -> list[str]:
    """What this process calls its ``count`` GPUs, as its own ``CUDA_VISIBLE_DEVICES`` names them where it is set."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return ([each.strip() for each in named.split(",")] if named else [str(number) for number in range(count)])[:count]


@contextmanager
def _heirs_ignore_interrupts() -> Iterator[None]:
    """Processes that are started within ignore Ctrl-C, which a terminal sends to all: who started them stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(job: Submitted) -> None:
    """Tell a job of this machine to stop. submitit's own way is SIGINT, which jobs ignore, as all in the background."""
    if not job.handle.done():
        with suppress(ProcessLookupError):
            os.kill(int(job.handle.job_id), signal.SIGTERM)


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
