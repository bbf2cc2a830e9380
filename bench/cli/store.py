"""``bench store``: a safe copy of the results database, and bringing an older one up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.common import global_option, opened_store

storing = typer.Typer(no_args_is_help=True, help="The results database: a copy of it, its schema version.")
app.add_typer(storing, name="store")


@storing.command(epilog="Example: [bold]bench store backup monday.db[/bold]")
def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The copy; must not exist yet.")],
) -> None:
    """Copy the database as it is at one moment, also while runs are writing to it."""
    from bench.backup import backup as copy

    runs = copy(str(global_option(ctx, "store")), file)
    typer.echo(f"{file}: {runs} runs")


@storing.command(epilog="Example: [bold]bench store migrate --store old.db[/bold]")
def migrate(ctx: typer.Context) -> None:
    """Bring a database of an older version up to date (every command that writes does it too)."""
    from bench.database import plain
    from bench.migrations import CURRENT

    store = opened_store(ctx)
    store.close()
    had = "was made now" if store.was is None else f"brought from schema version {store.was}"
    state = f"is up to date (schema version {CURRENT})" if store.was == CURRENT else f"{had} to {CURRENT}"
    typer.echo(f"{plain(store.where)}: {state}")
