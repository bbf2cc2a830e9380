"""``bench tune``: search for settings without the test classes."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.options import RunOptions, takes_run_options
from bench.cli.output import global_option, make_resources, print_json, print_rows
from bench.errors import UsageError, missing_extra

if TYPE_CHECKING:
    from bench.settings.request import Request

TUNING = ":tuning"


@app.command(epilog="Example: bench tune ours -d emoji --trials 20 > best.toml")
@takes_run_options
def tune(
    ctx: typer.Context,
    *,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Method to tune.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study, earlier ones included.")],
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which no trial begins.", show_default="none")
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file of values to try.", show_default="declared by the settings"),
    ] = None,
    options: RunOptions,
) -> None:
    """Search for the settings with the best main metric on the split NAME:tuning, which has no test class.

    Optuna proposes the settings; a trial that is worse than the median of the others after an epoch is pruned. The
    same command continues the study, also in several processes at once. The output is a file for --config with the
    best settings; its first line is the command that runs them on the test. --dry-run prints the values to try.
    """
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("bench tune", "tune") from error
    request = make_request(method, options)
    from bench.evaluation.metrics.base import main_metrics
    from bench.experiments.resolve import choose_weights, resolve
    from bench.loggers.base import observe
    from bench.results.outcomes import open_store
    from bench.settings.run_settings import given
    from bench.tuning.space import as_assignments, declared_space, read_space, rounded
    from bench.tuning.study import Tuning, best_trial, ended_trials

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    resources = make_resources(ctx, score_epochs=True)
    with_weights, warning = choose_weights(request, dry_run=options.dry_run)
    if warning:
        request = with_weights
        typer.echo(f"WARNING: {warning}", err=True)
    base = resolve(request, resources)
    metric = main_metrics(base.split.relevance)[0]
    settings, terms = (base.run, base.own, base.post), base.method.terms
    chosen = read_space(space, settings) if space else declared_space(settings, terms, request.assignments)
    if not chosen:
        raise UsageError(f"No setting of {method!r} declares values to try: name some by --space FILE.")
    kept = tuple(each for each in request.assignments if given([each]).keys().isdisjoint(chosen))
    request = replace(request, assignments=kept)  # what is searched is not given
    if options.dry_run:
        rows = [{"setting": name, "values": describe(each)} for name, each in chosen.items()]
        print_rows("space", rows, options.format)
        return
    observer = partial(observe, texts=options.log or (), quiet=global_option(ctx, "quiet"))
    store, _ = open_store(global_option(ctx, "store"), resources.cache_dir)
    with closing(store):
        tuning = Tuning(request, metric, options.chosen_seeds, chosen, resources, store, observer)
        study = tuning.open_study()
        tuning.search(study, trials, timeout)
    best = best_trial(study)
    assignments = (*request.assignments, *as_assignments(best.params))
    tuned = replace(request, split=str(request.split).removesuffix(TUNING), assignments=assignments)
    ended = ended_trials(study)
    states = [trial.state.name.lower() for trial in ended]
    if options.format == "json":
        listed = [
            {"trial": each.number, "state": state, "value": each.value, "settings": rounded(each.params)}
            for each, state in zip(ended, states, strict=True)
        ]
        facts = {"study": study.study_name, "split": request.split, "metric": metric, "best": best.number}
        print_json({**facts, "set": assignments, "command": ["bench", *tuned.words(())], "trials": listed})
        return
    counts = ", ".join(f"{states.count(each)} {each}" for each in sorted(set(states)))
    typer.echo(f"# {tuned.command(())}")
    typer.echo(f"# {metric} {best.value:.4f} on {request.split}, the best of {len(ended)} trials ({counts}).")
    typer.echo(make_toml(tuned))


def make_request(method: str, options: RunOptions) -> Request:
    """The request of the first seed on the tuning split; raises UsageError for options that do not fit."""
    from bench.datasets.base import DATASETS

    if len(options.chosen_datasets) != 1:
        raise UsageError("A study has one dataset: name one with -d.")
    torchrun = os.environ.get("WORLD_SIZE", "1") != "1"
    for name, given in {"--executor": options.executor, "--force": options.force, "torchrun": torchrun}.items():
        if given:
            raise UsageError(f"{name} does not fit bench tune: start the same command several times to share a study.")
    dataset = options.chosen_datasets[0]
    split = options.split or f"{DATASETS.get(dataset).split_names[0]}{TUNING}"
    if not split.endswith(TUNING):
        raise UsageError(f"Test classes choose no settings: give --split {split.partition(':')[0]}{TUNING}.")
    if options.select == "oracle":
        raise UsageError("--select oracle chooses epochs on the test: take last or seen-validation.")
    return replace(options, split=split).make_request(method, dataset, options.chosen_seeds[0], ())


def describe(values: Any) -> str:
    """The values of one setting, in words."""
    if hasattr(values, "choices"):
        return ", ".join(map(str, values.choices))
    return f"{values.low:g} to {values.high:g}{', logarithmic' * values.log}"


def make_toml(request: Request) -> str:
    """The options of a request as the table ``[run]`` of a configuration file."""
    _, _, method, _, dataset, *words = request.words(())  # run -m METHOD -d DATASET, then options with their values
    values: dict[str, Any] = {"--method": [method], "--dataset": [dataset]}
    values |= {**dict(zip(words[::2], words[1::2], strict=True)), "--set": request.assignments}
    return "\n".join(["[run]", *(f"{name.removeprefix('--')} = {json.dumps(each)}" for name, each in values.items())])
