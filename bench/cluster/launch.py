"""Cells as jobs, through submitit: one job a request, which goes on from its checkpoint when its time is over.

submitit passes a job to its process in files that it pickles, writes and reads itself, in a folder of its own. bench
reads no file that way, and no job holds a password.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, LoadingError, StorageError, UsageError, nearest
from bench.results.database import plain
from bench.results.merge import open_store
from bench.results.store import Store
from bench.signals import Terminated, ignore_signals

if TYPE_CHECKING:
    from bench.experiments.experiment import Resources
    from bench.experiments.progress import Observer
    from bench.settings.request import Request

EXECUTORS = ("local", "slurm")
LOCAL = {"timeout_min": 60 * 24 * 365, "signal_delay_s": 30}  # the delay: seconds before the end, for a checkpoint
SLURM = {"name": "bench", "timeout_min": 60 * 24}
TIMEOUTS = 1000  # how often a job of a cluster may be requeued
TERMINATED, REQUEUE = 143, 75  # exit codes of a job that was stopped, and of one whose time was over
POLL_SECONDS = 0.5


class Job:
    """One request as a job: called in the process that submitit starts, it returns an exit code of ``bench``.

    A URL ``where`` that may hold a password is not in it: the process has it as ``BENCH_STORE``. ``identity`` has the
    columns of the run, ``observer`` shows its progress in the log, ``gpus`` is ``CUDA_VISIBLE_DEVICES`` of a local job.
    """

    def __init__(
        self,
        request: Request,
        resources: Resources,
        where: str,
        identity: Mapping[str, Any],
        *,
        force: bool,
        observer: Callable[[], AbstractContextManager[Observer]],
    ) -> None:
        self.request, self.identity, self.force, self.observer = request, dict(identity), force, observer
        self.resources = {name: value for name, value in vars(resources).items() if name != "processes"}
        self.where = where if plain(where) == where else ""
        self.gpus: str | None = None

    def __call__(self) -> int:
        """Run the request. Out of time, it writes a checkpoint first and is queued again."""
        import submitit

        job = submitit.JobEnvironment()
        facts = {"job": f"{job.cluster} {job.job_id}", "log": str(job.paths.stderr)}
        requeue: Any = signal.getsignal(signal.SIGUSR2)  # submitit's: hands the job in again and ends the process
        out_of_time = False

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal out_of_time
            out_of_time = out_of_time or number == signal.SIGUSR2
            if number == signal.SIGTERM:
                raise Terminated
            signal.raise_signal(signal.SIGTERM)  # for which a training step ends first

        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
            signal.signal(number, stop)
        if job.cluster == "local":
            os.setpgid(0, 0)  # Ctrl-C of a terminal goes to the sweep alone, which stops its jobs
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # submitit hides all GPUs
            os.environ.update({"CUDA_VISIBLE_DEVICES": self.gpus} if self.gpus is not None else {})
        try:
            return self.run(facts)
        except Terminated:
            ignore_signals()
            print("Interrupted; what was finished is stored.", file=sys.stderr)
        if not out_of_time:
            return TERMINATED
        self._change_store(lambda store: store.queue(self.identity, facts))
        if job.cluster != "local":
            requeue(signal.SIGUSR2, None)
        return REQUEUE

    def run(self, facts: Mapping[str, str]) -> int:
        """Compute the request, whose job has these ``facts``; errors go to the log. The exit code.

        Without the database the outcome stays in a file, and the code is 6.
        """
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
        logging.getLogger("bench").setLevel(logging.INFO)
        from bench.experiments.experiment import Resources  # torch, which a job imports when it can be stopped
        from bench.experiments.resolve import resolve
        from bench.experiments.run import run_and_store, run_without_store

        resources, where = Resources(**self.resources), self._where()
        try:
            experiment = resolve(self.request, resources)
            try:
                store, _ = open_store(where, resources.cache_dir)
            except StorageError:
                with self.observer() as observer:
                    run_without_store(experiment, where, resources, observer, force=self.force)
                raise
            with closing(store), self.observer() as observer:
                while not run_and_store(experiment, store, resources, observer, force=self.force, job=facts):
                    time.sleep(4 * POLL_SECONDS)  # another process computes it
        except Exception as error:
            code, failure = (error.exit_code if isinstance(error, BenchError) else 1), str(error)
            print(traceback.format_exc() if code == 1 else f"error: {failure}", file=sys.stderr)
            self._change_store(lambda store: store.unqueue(self.identity["key"], "failed", failure))
            return code
        return 0

    def checkpoint(self) -> Any:
        """What submitit hands in again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _where(self) -> str:
        return self.where or os.environ["BENCH_STORE"]

    def _change_store(self, change: Callable[[Store], object]) -> None:
        # A store that is out of reach may be why the job ends.
        with suppress(StorageError), closing(Store(self._where())) as store:
            change(store)


@dataclass(frozen=True)
class Executor:
    """One of ``EXECUTORS``: ``folder`` takes logs and submitit's files, ``parameters`` are those of ``--job``, as text.

    At most ``at_once`` jobs run at the same time. None: one for each GPU, or one, on this machine; all on a cluster.

    Raises UsageError for a scheduler that is not there or a parameter that it does not know, LoadingError without
    submitit.
    """

    name: str
    folder: Path
    at_once: int | None
    parameters: Mapping[str, str]

    def check(self) -> None:
        """Raise UsageError or LoadingError when jobs cannot be submitted."""
        self._make(1)

    def submit(self, jobs: Sequence[Job], where: str) -> list[dict[str, str]]:
        """Hand all jobs to the cluster as one array, which inherits this process's environment; their facts."""
        with _children({"BENCH_STORE": where}):
            return [self._facts(job) for job in self._make(len(jobs)).submit_array(jobs)]

    def run_here(
        self,
        jobs: Sequence[Job],
        where: str,
        gpus: Sequence[str],
        processors: int,
        begun: Callable[[int, dict[str, str]], None],
        ended: Callable[[int, int | None], None],
    ) -> None:
        """Run all jobs in processes of this machine, which share its ``processors`` and ``gpus``, and wait for them.

        ``begun`` and ``ended`` get the position of a job, and its facts or its exit code (None: it was killed).
        Stopped, or when they raise, the jobs that run are stopped and write checkpoints.
        """
        slots = list(range(min(len(jobs), self.at_once or max(1, len(gpus)))))
        environment = {"BENCH_STORE": where}
        if len(slots) > 1:  # more threads than processors would wait for each other
            environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(max(1, processors // len(slots))))
        todo, running = list(range(len(jobs))), dict[int, tuple[int, Any]]()
        try:
            while todo or running:
                while todo and slots:
                    slot, position = slots.pop(0), todo.pop(0)
                    jobs[position].gpus = gpus[slot % len(gpus)] if gpus else os.environ.get("CUDA_VISIBLE_DEVICES")
                    with _children(environment):
                        job = self._make(1).submit(jobs[position])
                    running[slot] = (position, job)
                    begun(position, self._facts(job))
                for slot, (position, job) in list(running.items()):
                    if not job.done():
                        continue
                    del running[slot]
                    slots.append(slot)
                    code = _exit_code(job)
                    if code == REQUEUE:
                        todo.insert(0, position)
                    else:
                        ended(position, code)
                time.sleep(POLL_SECONDS)
        finally:
            for _, job in running.values():  # submitit's own way is SIGINT, which jobs ignore
                if not job.done():
                    with suppress(ProcessLookupError):
                        os.kill(int(job.job_id), signal.SIGTERM)

    def _make(self, count: int) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise LoadingError(
                "--executor needs the project's extra 'cluster' (submitit): install it, or let another scheduler run "
                "the cells that --dry-run --format json prints."
            ) from error
        chosen: dict[str, Any] = {name: _value(text) for name, text in self.parameters.items()}
        if self.name == "local":
            chosen = self._check_local(chosen)
        else:
            chosen = SLURM | {"array_parallelism": self.at_once or count} | chosen
        delay = {"signal_delay_s": chosen.pop("signal_delay_s")} if self.name == "local" else {}
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # others who write there could run code as the user
        with suppress(PermissionError):  # a folder of another user
            self.folder.chmod(0o700)
        try:
            made = submitit.AutoExecutor(self.folder, cluster=self.name, slurm_max_num_timeout=TIMEOUTS)
            shared = made._valid_parameters()
            made.update_parameters(
                **{each if each in shared else f"{self.name}_{each}": value for each, value in chosen.items()}
            )
        except RuntimeError as error:
            raise UsageError(
                f"There is no SLURM on this machine ({error}): submit from a login node, take --executor local, or let "
                "another scheduler run the cells that --dry-run --format json prints."
            ) from error
        except (ValueError, TypeError, NameError, AssertionError) as error:
            raise UsageError(
                f"--job takes parameters of submitit's {self.name} executor ({str(error).splitlines()[0]})."
            ) from error
        made.parameters.update(delay)  # which AutoExecutor does not know for local jobs
        return made

    def _check_local(self, chosen: dict[str, Any]) -> dict[str, Any]:
        for name, value in chosen.items():
            if name not in LOCAL:  # submitit ignores some without a word
                raise UsageError(f"--job {name} is no parameter of the local executor. {nearest(name, LOCAL)}")
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"--job {name} takes a whole number from 1, not {self.parameters[name]!r}.")
        used = LOCAL | chosen
        if used["signal_delay_s"] >= 60 * used["timeout_min"]:
            raise UsageError(
                f"--job signal_delay_s ({used['signal_delay_s']} seconds before the end a job writes its checkpoint) "
                "leaves no time to compute: raise --job timeout_min, or lower it."
            )
        return used

    def _facts(self, job: Any) -> dict[str, str]:
        return {"job": f"{self.name} {job.job_id}", "log": str(job.paths.stderr)}


def gpus_here(count: int) -> list[str]:
    """The names of this process's ``count`` GPUs, as its own ``CUDA_VISIBLE_DEVICES`` has them where it is set."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return ([each.strip() for each in named.split(",")] if named else [str(number) for number in range(count)])[:count]


@contextmanager
def _children(environment: Mapping[str, str]) -> Iterator[None]:
    """Processes that start within inherit these variables, and ignore Ctrl-C, which a terminal sends to all."""
    before = dict(os.environ)
    os.environ.update(environment)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)
        for name in environment:
            os.environ.pop(name)
            os.environ.update({name: before[name]} if name in before else {})


def _exit_code(job: Any) -> int | None:
    try:
        return int(job.result())
    except Exception:  # submitit's own for a job that was killed
        return None


def _value(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
