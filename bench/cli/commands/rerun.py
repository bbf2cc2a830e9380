"""``bench rerun``: a stored run once more."""

from __future__ import annotations

import typer

from bench.cli.app import app
from bench.cli.options import DatasetSettings, Device, RunNumber, RunOptions, Weights, Workers
from bench.cli.output import Format, load_run, make_resources


@app.command(epilog="Example: bench rerun 3")
def rerun(
    ctx: typer.Context,
    number: RunNumber,
    weights: Weights = None,
    assignments: DatasetSettings = None,
    device: Device = "auto",
    workers: Workers = 0,
    format: Format = "table",
) -> None:
    """Run a stored run once more, with its settings, seed and images, and the code of today.

    The old run is kept, superseded. Exits with 3 if the images differ.
    """
    from bench.cli.run_requests import run_requests
    from bench.experiments.stored_run import load_experiment

    resources = make_resources(ctx)
    experiment = load_experiment(load_run(ctx, number), resources, assignments or (), weights)
    options = RunOptions(device=device, workers=workers, force=True, format=format)
    run_requests(ctx, [experiment.request], options)
