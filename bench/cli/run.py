"""``bench run``: train (if needed), embed, score, store."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.common import OutputFormat, cache_dir, global_option, print_json, print_table, stderr
from bench.errors import BenchError, IncompleteError, UsageError

if TYPE_CHECKING:
    from bench.engine import Experiment, Request, Resources
    from bench.store import RunRecord, Store

SHOWN = ("mAP@all:plain", "mAP@200:min", "P@5:k", "P@100:k", "P@200:k")


class Precision(StrEnum):
    """Number format of the forward pass."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


@app.command(epilog="Example: [bold]bench run -m imagenet -m ours -d emoji --seeds 3[/bold]")
def run(
    ctx: typer.Context,
    method: Annotated[list[str], typer.Option("-m", "--method", help="Method; may be repeated.")],
    dataset: Annotated[list[str], typer.Option("-d", "--dataset", help="Dataset; may be repeated.")] = ["emoji"],  # noqa: B006
    split: Annotated[str | None, typer.Option(help="Frozen class split.", show_default="the dataset's")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed; may be repeated.", show_default="0")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Drop a loss term; may be repeated.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Network, by timm's name.")] = None,
    weights: Annotated[str | None, typer.Option(help="Backbone weights: a file, or none.")] = None,
    image_size: Annotated[int | None, typer.Option(min=32, help="Side of the square, pixels.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=4, help="Images a batch, half of them sketches.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate of the backbone.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Number format of the forward pass.")] = Precision.fp32,
    limit: Annotated[
        int | None, typer.Option(min=1, help="N images per class: a smoke run, left out of reports.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Run again what is done; the old run is kept, superseded.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going/--fail-fast", help="Go on after a failed cell.")] = True,
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """Run methods on datasets: train (if needed), embed, rank, score, store.

    Every combination of method, dataset and seed is one run. A run that is stored already is not computed again.
    """
    from bench.engine import Request, Resources
    from bench.store import Store

    options = {
        "backbone": backbone,
        "weights": weights,
        "image_size": image_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
    }
    named = [f"{key}={value}" for key, value in options.items() if value is not None]
    requests = [
        Request(
            method=each_method,
            dataset=each_dataset,
            split=split,
            seed=each_seed,
            without=tuple(without or ()),
            assignments=tuple(named + (assignments or [])),
            per_class_limit=limit,
        )
        for each_dataset in dataset
        for each_method in method
        for each_seed in chosen_seeds(seed, seeds)
    ]
    resources = Resources(
        data_root=global_option(ctx, "data_root"),
        cache_dir=cache_dir(ctx),
        device=device,
        precision=precision.value,
        workers=workers,
    )
    store = Store(global_option(ctx, "store"))
    try:
        run_all(requests, resources, store, force=force, keep_going=keep_going, format=format, quiet=is_quiet(ctx))
    finally:
        store.close()


def is_quiet(ctx: typer.Context) -> bool:
    """Whether progress is unwanted."""
    return bool(global_option(ctx, "quiet"))


def chosen_seeds(seed: list[int] | None, seeds: int | None) -> list[int]:
    """The seeds of ``--seed`` or of ``--seeds``; raises UsageError when both were given."""
    if seed and seeds:
        raise UsageError("Give either --seed or --seeds, not both.")
    return list(range(seeds)) if seeds else list(dict.fromkeys(seed or [0]))


def run_all(
    requests: list[Request],
    resources: Resources,
    store: Store,
    *,
    force: bool,
    keep_going: bool,
    format: OutputFormat,
    quiet: bool,
) -> None:
    """Resolve every cell first, so that a mistake in the last is found before the first is computed; then run them."""
    from bench.engine import resolve

    experiments = [resolve(request, resources) for request in requests]
    done: list[tuple[RunRecord, bool]] = []
    failures: list[str] = []
    try:
        for number, experiment in enumerate(experiments, start=1):
            try:
                done.append(one_cell(experiment, resources, store, force, quiet, f"[{number}/{len(experiments)}] "))
            except BenchError as error:
                if not keep_going or len(experiments) == 1:
                    raise
                failures.append(f"{title(experiment)}: {error}")
                typer.echo(f"error: {failures[-1]}", err=True)
    finally:
        show(done, format)
    if failures:
        raise IncompleteError(f"{len(failures)} of {len(experiments)} runs failed, the others are stored.")


def one_cell(
    experiment: Experiment, resources: Resources, store: Store, force: bool, quiet: bool, counter: str
) -> tuple[RunRecord, bool]:
    """The stored run of an experiment, and whether it had been there before."""
    from bench.cli.progress import Bars
    from bench.engine import run_and_store

    stored = None if force else store.find(experiment.identity["key"])
    if stored is not None:
        stderr().print(f"{counter}{title(experiment)}: already done, run {stored.id} of {stored.ended}", markup=False)
        return stored, True
    with Bars(f"{counter}{title(experiment)}", quiet=quiet) as observer:
        return run_and_store(experiment, store, resources, observer), False


def title(experiment: Experiment) -> str:
    """What a cell is called on the screen."""
    ablation = f" {experiment.ablation}" if experiment.ablation else ""
    smoke = ", smoke" if experiment.per_class_limit is not None else ""
    return f"{experiment.method.name}{ablation} on {experiment.split.name} (seed {experiment.seed}{smoke})"


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
        values = {score.metric: score.value for score in record.scores if score.average == "queries"}
        name = " ".join(part for part in (record.method, record.ablation) if part)
        figures = [f"{values[metric]:.3f}" if metric in values else "-" for metric in SHOWN]
        seconds = f"{sum(record.seconds.values()):.0f}"
        cells.append([str(record.id), name, record.split, str(record.seed), *figures, seconds])
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
