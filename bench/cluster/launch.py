"""Runs as jobs of submitit: one job for each request. A job that runs out of time resumes from its checkpoint.

submitit pickles a job into a folder that only the user can open. bench itself loads no pickle, and no job holds a
password.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, LoadingError, StorageError, UsageError, nearest
from bench.garbage import spare_imports
from bench.results.database import plain
from bench.results.outcomes import open_store
from bench.results.store import Store
from bench.signals import Terminated, deferred_signals, ignore_signals

if TYPE_CHECKING:
    from bench.experiments.experiment import Experiment, Resources
    from bench.experiments.progress import Observer

EXECUTORS = ("local", "slurm")
LOCAL = {"timeout_min": 60 * 24 * 365, "signal_delay_s": 30}  # the delay: seconds to write a checkpoint in
SLURM = {"name": "bench", "timeout_min": 60 * 24}
TIMEOUTS = 1000  # how often a cluster may requeue a job
TERMINATED, REQUEUE = 143, 75  # exit codes of a job that was stopped, and of one that ran out of time
POLL_SECONDS = 0.5  # between two looks at the jobs of this machine


class Job:
    """One experiment. submitit calls it in the process of the job; it returns an exit code of ``bench``.

    ``where`` is the store; a URL that may hold a password is passed as ``BENCH_STORE`` instead. ``observer`` logs
    progress. ``gpus`` becomes ``CUDA_VISIBLE_DEVICES`` of a local job.
    """

    def __init__(
        self,
        experiment: Experiment,
        resources: Resources,
        where: str,
        *,
        force: bool,
        observer: Callable[[], AbstractContextManager[Observer]],
    ) -> None:
        self.title, self.request, self.identity = experiment.title, experiment.request, experiment.identity
        self.force, self.observer = force, observer
        self.resources = {name: value for name, value in vars(resources).items() if name != "processes"}
        self.where = where if plain(where) == where else ""
        self.gpus: str | None = None

    def __call__(self) -> int:
        """Run the request. Out of time, write a checkpoint and queue the job again."""
        import submitit

        spare_imports()
        job = submitit.JobEnvironment()
        facts = _facts(job.cluster, job)
        requeue: Any = signal.getsignal(signal.SIGUSR2)  # submitit's: requeues the job and exits
        out_of_time = False

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal out_of_time
            out_of_time = out_of_time or number == signal.SIGUSR2
            if number == signal.SIGTERM:
                raise Terminated
            signal.raise_signal(signal.SIGTERM)  # waits for the end of a training step

        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
            signal.signal(number, stop)
        if job.cluster == "local":
            os.setpgid(0, 0)  # Ctrl-C of a terminal reaches the sweep alone, which stops its jobs
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # submitit hides all GPUs
            if self.gpus is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus
        try:
            return self.run(facts)
        except Terminated:
            ignore_signals()
            print("Interrupted; what was finished is stored.", file=sys.stderr)
        if out_of_time:
            self._change_store(lambda store: store.queue(self.identity, facts))
            if job.cluster != "local":
                requeue(signal.SIGUSR2, None)
        return REQUEUE if out_of_time else TERMINATED

    def run(self, facts: Mapping[str, str]) -> int:
        """Compute and store the run of a job with these ``facts``; log errors. Returns an exit code of ``bench``.

        If the database is out of reach, the outcome stays in a file and the code is 6.
        """
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
        logging.getLogger("bench").setLevel(logging.INFO)
        from bench.experiments.experiment import Resources  # imports torch, after the signal handlers are set
        from bench.experiments.resolve import resolve
        from bench.experiments.run import run_or_await, run_without_store

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
                run_or_await(experiment, store, resources, observer, force=self.force, job=facts)
        except Exception as error:
            code, failure = (error.exit_code if isinstance(error, BenchError) else 1), str(error)
            print(traceback.format_exc() if code == 1 else f"error: {failure}", file=sys.stderr)
            self._change_store(lambda store: store.unqueue(self.identity["key"], "failed", failure))
            return code
        return 0

    def checkpoint(self) -> Any:
        """The job that submitit requeues."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _where(self) -> str:
        return self.where or os.environ["BENCH_STORE"]

    def _change_store(self, change: Callable[[Store], object]) -> None:
        with suppress(StorageError), closing(Store(self._where())) as store:
            change(store)


@dataclass(frozen=True)
class Executor:
    """Submits jobs. ``name`` is one of ``EXECUTORS``, ``parameters`` are those of ``--job``.

    ``folder`` holds logs and submitit's files. At most ``at_once`` jobs run at the same time; None means all on a
    cluster, and on this machine one for each GPU, or one.
    """

    name: str
    folder: Path
    at_once: int | None
    parameters: Mapping[str, str]

    def submit(self, jobs: Sequence[Job], where: str) -> list[dict[str, str]]:
        """Submit all jobs to the cluster as one array; returns the name and log of each.

        The array inherits the environment of this process.
        """
        with _children({"BENCH_STORE": where}):
            return [_facts(self.name, job) for job in self.create(len(jobs)).submit_array(jobs)]

    def run_here(
        self,
        jobs: Sequence[Job],
        where: str,
        gpus: Sequence[str],
        processors: int,
        begun: Callable[[int, dict[str, str]], None],
        ended: Callable[[int, int | None], None],
    ) -> None:
        """Run all jobs as processes of this machine, which share its ``processors`` and ``gpus``; wait for them.

        ``begun`` gets the position of a job with its name and log, ``ended`` with its exit code (None: killed). An
        exception, also Ctrl-C, stops the running jobs, which write checkpoints.
        """
        slots = list(range(min(len(jobs), self.at_once or max(1, len(gpus)))))
        environment = {"BENCH_STORE": where}
        if len(slots) > 1:  # the jobs share the processors
            environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(max(1, processors // len(slots))))
        todo, running = list(range(len(jobs))), dict[int, tuple[int, Any]]()
        try:
            while todo or running:
                while todo and slots:
                    slot, position = slots.pop(0), todo.pop(0)
                    jobs[position].gpus = gpus[slot % len(gpus)] if gpus else os.environ.get("CUDA_VISIBLE_DEVICES")
                    # A signal waits until the job is in ``running``, which is stopped below.
                    with deferred_signals() as signals, _children(environment):
                        job = self.create(1).submit(jobs[position])
                        running[slot] = (position, job)
                    signals.raise_pending()
                    begun(position, _facts(self.name, job))
                for slot, (position, job) in list(running.items()):
                    if not job.done():
                        continue
                    del running[slot]
                    slots.append(slot)
                    code = None
                    with suppress(Exception):  # submitit raises its own if the job was killed
                        code = int(job.result())
                    if code == REQUEUE:
                        todo.insert(0, position)
                    else:
                        ended(position, code)
                time.sleep(POLL_SECONDS)
        finally:
            for _, job in running.values():  # submitit would send SIGINT, which jobs ignore
                if not job.done():
                    with suppress(ProcessLookupError):
                        os.kill(int(job.job_id), signal.SIGTERM)

    def create(self, count: int) -> Any:
        """submitit's executor for ``count`` jobs.

        Raises UsageError for a missing scheduler or an unknown parameter, LoadingError without submitit.
        """
        try:
            import submitit
        except ImportError as error:
            raise LoadingError(
                "--executor needs the project's extra 'cluster' (submitit): install it, or let another scheduler run "
                "the commands that --dry-run --format json prints."
            ) from error
        defaults = LOCAL if self.name == "local" else SLURM | {"array_parallelism": self.at_once or count}
        used: dict[str, Any] = defaults | {name: _value(text) for name, text in self.parameters.items()}
        if self.name == "local":
            self._check_local(used)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # whoever writes there can run code as the user
        with suppress(PermissionError):  # a folder of another user
            self.folder.chmod(0o700)
        if self.name == "local":
            made: Any = submitit.LocalExecutor(self.folder)  # AutoExecutor refuses a delay for it
            made.update_parameters(**used)
            return made
        try:
            made = submitit.AutoExecutor(self.folder, cluster=self.name, slurm_max_num_timeout=TIMEOUTS)
            shared = made._valid_parameters()  # the others have the executor's name in front
            made.update_parameters(**{k if k in shared else f"{self.name}_{k}": v for k, v in used.items()})
        except RuntimeError as error:
            raise UsageError(
                f"There is no SLURM on this machine ({error}): submit from a login node, take --executor local, or let "
                "another scheduler run the commands that --dry-run --format json prints."
            ) from error
        except (ValueError, TypeError, NameError, AssertionError) as error:
            raise UsageError(
                f"--job takes parameters of submitit's {self.name} executor ({str(error).splitlines()[0]})."
            ) from error
        return made

    def _check_local(self, used: Mapping[str, Any]) -> None:
        for name, value in used.items():
            if name not in LOCAL:  # submitit ignores some
                raise UsageError(f"--job {name} is no parameter of the local executor. {nearest(name, LOCAL)}")
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"--job {name} takes a whole number from 1, not {self.parameters[name]!r}.")
        if used["signal_delay_s"] >= 60 * used["timeout_min"]:
            raise UsageError(
                f"--job signal_delay_s ({used['signal_delay_s']} seconds to write a checkpoint) leaves no time to "
                "compute: raise --job timeout_min, or lower it."
            )


def _facts(cluster: str, job: Any) -> dict[str, str]:
    return {"job": f"{cluster} {job.job_id}", "log": str(job.paths.stderr)}


def gpus_here(count: int) -> list[str]:
    """The names of this process's ``count`` GPUs: those of its ``CUDA_VISIBLE_DEVICES``, else ``0``, ``1``, ...."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return ([each.strip() for each in named.split(",")] if named else [str(number) for number in range(count)])[:count]


@contextmanager
def _children(variables: Mapping[str, str]) -> Iterator[None]:
    """Processes that start in the block inherit these variables. Ctrl-C never reaches them; here it waits."""
    before = os.environ.copy()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which children inherit
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _value(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
