"""Carrying out a list of cells for ``bench run`` and ``bench ablate``: done ones shown, others computed, none twice."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import typer

from bench.cli.common import OutputFormat, cache_dir, global_option, print_json, print_table, stderr
from bench.cli.options import Precision
from bench.cli.progress import Bars
from bench.engine import run_and_store
from bench.errors import BenchError, IncompleteError, UsageError
from bench.experiment import Experiment, Request, Resources, Splits, resolve
from bench.models import RunRecord
from bench.store import Store

SHOWN = ("mAP@all:plain", "mAP@200:min", "P@5:k", "P@100:k", "P@200:k")
POLL_SECONDS = 2.0  # how often a cell that another process computes is asked for


def chosen_seeds(seed: list[int] | None, seeds: int | None) -> list[int]:
    """The seeds of ``--seed`` or of ``--seeds``; raises UsageError when both were given."""
    if seed and seeds:
        raise UsageError("Give either --seed or --seeds, not both.")
    return list(range(seeds)) if seeds else list(dict.fromkeys(seed or [0]))


def named_settings(
    assignments: list[str] | None,
    backbone: str | None,
    weights: str | None,
    image_size: int | None,
    epochs: float | None,
    batch_size: int | None,
    lr: float | None,
) -> tuple[str, ...]:
    """The options that stand for settings as ``key=value``, before those of ``--set``."""
    options = {
        "backbone": backbone,
        "weights": weights,
        "image_size": image_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
    }
    return (*(f"{key}={value}" for key, value in options.items() if value is not None), *(assignments or ()))


def resources_of(
    ctx: typer.Context, device: str, precision: Precision, workers: int, resume: bool, top: int
) -> Resources:
    """Where and how to compute, from options and global options."""
    return Resources(
        data_root=global_option(ctx, "data_root"),
        cache_dir=cache_dir(ctx),
        device=device,
        precision=precision.value,
        workers=workers,
        resume=resume,
        top=top,
    )


def run_all(
    ctx: typer.Context,
    requests: list[Request],
    resources: Resources,
    *,
    force: bool,
    keep_going: bool,
    dry_run: bool,
    format: OutputFormat,
) -> None:
    """Resolve every cell first, so that a mistake in the last is found before the first is computed; then run them.

    Raises IncompleteError when some failed; the others are stored and shown.
    """
    where, quiet = str(global_option(ctx, "store")), bool(global_option(ctx, "quiet"))
    with Bars("checking images", quiet=quiet or all(each.on_bad_image == "error" for each in requests)) as bars:
        bars.phase("decoding")
        splits = Splits(lambda done, total: bars.progress(done, total, {}))
        experiments = [resolve(request, resources, splits) for request in requests]
    for reason in dict.fromkeys(reason for each in experiments for reason in each.dropped.values()):
        typer.echo(f"dropped: {reason}", err=True)
    if dry_run:
        show_plan(experiments, where, force, format)
        return
    store = Store(where)
    cells = Cells(experiments, resources, store, force=force, keep_going=keep_going, quiet=quiet)
    try:
        cells.run()
    finally:
        show(cells.done, format)
        store.close()
    if cells.failures:
        raise IncompleteError(f"{len(cells.failures)} of {len(experiments)} runs failed, the others are stored.")


class Cells:
    """Runs experiments one after the other; ``done`` are records, each with whether it had been stored before."""

    def __init__(
        self,
        experiments: list[Experiment],
        resources: Resources,
        store: Store,
        *,
        force: bool,
        keep_going: bool,
        quiet: bool,
    ) -> None:
        self.experiments, self.resources, self.store = experiments, resources, store
        self.force, self.keep_going, self.quiet = force, keep_going, quiet
        self.done: list[tuple[RunRecord, bool]] = []
        self.failures: list[str] = []

    def run(self) -> None:
        """All of them; those that another process computes are waited for at the end."""
        busy = [n for n, each in enumerate(self.experiments, start=1) if not self._one(n, each)]
        for number in busy:
            experiment = self.experiments[number - 1]
            stderr().print(f"{title(experiment)}: another process computes it, waiting", markup=False)
            while not self._one(number, experiment):
                time.sleep(POLL_SECONDS)

    def _one(self, number: int, experiment: Experiment) -> bool:
        """Run one cell; False when another process computes it."""
        counter = f"[{number}/{len(self.experiments)}] "
        try:
            stored = None if self.force else self.store.find(experiment.key)
            if stored is not None:
                found: tuple[RunRecord, bool] | None = (stored, True)
            else:
                with Bars(f"{counter}{title(experiment)}", quiet=self.quiet) as observer:
                    found = run_and_store(experiment, self.store, self.resources, observer, force=self.force)
        except BenchError as error:
            if not self.keep_going or len(self.experiments) == 1:
                raise
            self.failures.append(f"{title(experiment)}: {error}")
            typer.echo(f"error: {self.failures[-1]}", err=True)
            return True
        if found is None:
            return False
        if found[1]:
            note = f"{counter}{title(experiment)}: already done, run {found[0].id} of {found[0].ended}"
            stderr().print(note, markup=False)
        self.done.append(found)
        return True


def title(experiment: Experiment) -> str:
    """What a cell is called on the screen."""
    words = [experiment.method.name, experiment.ablation, experiment.post.title]
    facts = [f"seed {experiment.seed}"]
    if experiment.selection != "last":
        facts.append(f"selection {experiment.selection}")
    if experiment.gallery != "unseen":
        facts.append("generalized")
    if experiment.per_class_limit is not None:
        facts.append("smoke")
    return f"{' '.join(word for word in words if word)} on {experiment.split.name} ({', '.join(facts)})"


def show_plan(experiments: list[Experiment], where: str, force: bool, format: OutputFormat) -> None:
    """What would be run and what is done, with estimates from stored runs of the same kind; writes nothing."""
    store = Store(where) if "://" in where or Path(where).exists() else None
    rows = []
    for experiment in experiments:
        stored = store.find(experiment.key) if store and not force else None
        like = store.runs(method=experiment.method.name, split=experiment.split.name, status="done") if store else []
        known = [sum(run.seconds.values()) for run in like if run.per_class_limit == experiment.per_class_limit]
        rows.append(
            {
                "cell": title(experiment),
                "state": f"done, run {stored.id}" if stored else "to run",
                "seconds": 0 if stored else round(sum(known) / len(known)) if known else None,
                "megabytes": round(memory_needed(experiment) / 1e6),
                "key": experiment.key[:16],
                "fingerprint": experiment.split.fingerprint[:16],
            }
        )
    if store:
        store.close()
    if format is OutputFormat.json:
        print_json(rows)
        return
    print_table(list(rows[0]), [["-" if cell is None else str(cell) for cell in row.values()] for row in rows])
    if any(row["seconds"] is None for row in rows):
        stderr().print("Seconds are those of stored runs of the same method and split; there are none for some cells.")


def memory_needed(experiment: Experiment) -> int:
    """Bytes that a run holds at least: decoded training images where they fit, and the test embeddings."""
    from datasets.images import CACHE_BYTES

    split, size = experiment.split, experiment.run.image_size
    decoded = len(split.train) * 3 * size**2 if experiment.method.terms else 0
    width = getattr(experiment.own, "dim", 0) or 2048  # the widest pooled feature of common backbones
    return (decoded if decoded <= CACHE_BYTES else 0) + 4 * width * (len(split.queries) + len(split.gallery))


def show(done: list[tuple[RunRecord, bool]], format: OutputFormat) -> None:
    """Results on stdout: a table, or JSON (an object for one run, a list for several)."""
    if not done:
        return
    if format is OutputFormat.json:
        rows = [as_json(record, already) for record, already in done]
        print_json(rows[0] if len(rows) == 1 else rows)
        return
    columns = ["run", "method", "split", "seed", *(name.removesuffix(":k") for name in SHOWN), "seconds"]
    cells = []
    for record, _ in done:
        figures = ["-" if (value := record.value(metric)) != value else f"{value:.3f}" for metric in SHOWN]
        seconds = f"{sum(record.seconds.values()):.0f}"
        cells.append([str(record.id), record.title, record.split, str(record.seed), *figures, seconds])
    print_table(columns, cells)
    if sys.stderr.isatty():
        skipped = max((score.skipped for record, _ in done for score in record.scores), default=0)
        if skipped:
            stderr().print(f"{skipped} queries have no relevant photo and are left out of the means.")


def as_json(record: RunRecord, already_done: bool) -> dict[str, Any]:
    """A run as CLI.md's contract has it."""
    return {
        "run": record.id,
        "method": record.method,
        "ablation": record.ablation,
        "dataset": record.dataset,
        "split": record.split,
        "seed": record.seed,
        "selection": record.selection,
        "gallery": record.gallery,
        "post": record.configuration.get("post", {}),
        "fingerprint": record.fingerprint,
        "seconds": sum(record.seconds.values()),
        "already_done": already_done,
        "scores": [
            {
                "metric": score.metric,
                "average": score.average,
                "value": None if score.value != score.value else score.value,
                "queries": score.queries,
                "skipped": score.skipped,
            }
            for score in record.scores
        ],
    }
