"""``bench serve``: draw in the browser and see live results."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.commands.query import Photos, load_searcher
from bench.cli.options import Device, RunNumber, Weights
from bench.signals import Terminated


@app.command(epilog="Example: bench serve 3 --photos ~/Pictures")
def serve(
    ctx: typer.Context,
    run: RunNumber,
    photos: Photos = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 8000,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """Draw in the browser and see the photos that the network of a run retrieves. Ctrl-C stops the server."""
    searcher = load_searcher(ctx, run, photos, weights)
    from bench.search.server import Server

    server = Server(searcher, f"{searcher.experiment.method.name}, run {run}", host, port)
    name, number = str(server.server_address[0]), server.server_address[1]
    address = f"http://{f'[{name}]' if ':' in name else name}:{number}/"
    local = "this machine only; --host 0.0.0.0 opens it to others"
    everyone = "everyone who can reach this machine, without a password"
    typer.echo(f"Serving {address} to {local if server.local_only else everyone}.\nCtrl-C stops it.", err=True)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt as error:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(143 if isinstance(error, Terminated) else 130) from error
    finally:
        server.server_close()
