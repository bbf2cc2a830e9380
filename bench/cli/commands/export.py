"""``bench export``: the network of a run as ONNX or safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.app import app
from bench.cli.options import RunNumber, Weights
from bench.cli.output import make_resources, open_store


@app.command(epilog="Example: bench export 3 --format onnx -o model")
def export(
    ctx: typer.Context,
    run: RunNumber,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="New or empty folder.")],
    format: Annotated[Literal["onnx", "safetensors"], typer.Option(help="Format of the network.")] = "onnx",
    weights: Weights = None,
) -> None:
    """Write the network of a run, its preprocessing and a model card into a folder.

    The file is loaded again and must embed 32 images of the test as the run did; otherwise nothing is left.
    """
    from bench.export.export import export as write
    from bench.export.onnx import check_packages
    from bench.results.details import PER_QUERY

    if format == "onnx":
        check_packages()
    with open_store(ctx) as store:
        record, per_query = store.run(run, finished=True), store.detail(run, PER_QUERY)
    difference = write(record, per_query, make_resources(ctx, device="cpu"), output, format, weights)
    typer.echo(f"{output}: embeddings equal those of run {run} within {difference:.1e}", err=True)
