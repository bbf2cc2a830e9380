"""``bench run --test-on``: score each trained network on other datasets, after the runs that train them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from bench.cli.sweep import Sweep
from bench.datasets.base import DATASETS, Dataset
from bench.errors import BenchError, DataError
from bench.experiments.resolve import Splits, resolve
from bench.methods.base import METHODS
from bench.results.models import RunRecord
from bench.settings.post_processing import PostProcessing
from bench.settings.request import Request
from bench.settings.run_settings import given, names
from bench.training.trained_networks import find_network


def find_missing(datasets: Sequence[str], requests: Sequence[Request], data_root: Path) -> dict[str, str]:
    """The test datasets that are not on disk, each with the reason, which is printed before anything is trained.

    Raises UsageError for an unknown dataset.
    """
    missing = {}
    for name in dict.fromkeys(datasets):
        kind = DATASETS.get(name)
        try:
            for split in {split_for(kind, request.dataset, request.split) for request in requests}:
                kind(data_root).split(split)
        except DataError as error:
            missing[name] = str(error)
            typer.echo(f"error: --test-on {name} is left out: {error}", err=True)
    return missing


def split_for(kind: type[Dataset], dataset: str, split: str | None) -> str:
    """The split that tests networks of a dataset: the one for networks of its default split, else the default."""
    own = [each for each in kind.split_names if each.endswith(f"-unseen-by-{dataset}")]
    if own and split in (None, DATASETS.get(dataset).split_names[0]):
        return own[0]
    return kind.split_names[0]


def test_on(sweep: Sweep, datasets: Sequence[str]) -> None:
    """Add the tests of every finished run of the sweep, and run them; what cannot be tested counts as failed."""
    splits, experiments = Splits(), []
    for run, _ in list(sweep.done):
        for name in datasets:
            try:
                experiments.append(resolve(_request(run, name, sweep), sweep.resources, splits))
            except BenchError as error:
                if not sweep.options.keep_going:
                    raise
                sweep.fail(f"{run.title} on {name}: {error}")
    sweep.experiments = experiments
    sweep.run()


def _request(run: RunRecord, name: str, sweep: Sweep) -> Request:
    """The request that scores a run's network, or its untrained method, on dataset ``name``."""
    kind, trains = DATASETS.get(name), bool(METHODS.get(run.method).terms)
    kept = {*names(kind.Settings), *names(PostProcessing)} - {"root"}
    if not trains:
        kept |= {*names(METHODS.get(run.method).Settings), *run.configuration["run"]}
    asked = sweep.options.make_request(run.method, name, 0, ())
    assignments = tuple(each for each in asked.assignments if given([each]).keys() <= kept)
    split = split_for(kind, Request.from_json(run.request).dataset, run.split)
    checkpoint = str(find_network(run, sweep.resources.cache_dir)) if trains else ""
    return replace(asked, split=split, assignments=assignments, checkpoint=checkpoint, selection="last", seed=run.seed)
