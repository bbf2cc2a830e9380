"""``bench store``: back up, merge and migrate the results database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.output import Format, cache_dir, global_option, print_rows, show_progress
from bench.errors import IncompleteError

storing = typer.Typer(no_args_is_help=True, help="Back up, merge and migrate the results database.")
app.add_typer(storing, name="store")


@storing.command(epilog="Example: bench store backup monday.db")
def backup(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="The copy; must not exist yet.")]) -> None:
    """Copy the database as it is at one moment, also while runs write to it."""
    from bench.results.backup import backup as copy

    runs = copy(str(global_option(ctx, "store")), file)
    typer.echo(f"{file}: {runs} runs")


@storing.command(epilog="Example: bench store merge node1.db node2.db --store all.db")
def merge(
    ctx: typer.Context,
    sources: Annotated[list[str], typer.Argument(help="Databases to read runs from: paths or URLs.")],
    format: Format = "table",
) -> None:
    """Copy the runs of other databases into the one of --store.

    The same key with the same scores is the same run. Different scores under one key are a conflict, which is printed:
    both runs are kept, and the older one in --store counts. Merging again adds nothing.
    """
    from bench.results.database import plain
    from bench.results.merge import merge as merge_into

    with show_progress(ctx, "merging") as bars:

        def progress(source: str, done: int, total: int) -> None:
            if bars.part != plain(source):
                bars.phase(plain(source))
            bars.progress(done, total)

        merged = merge_into(str(global_option(ctx, "store")), cache_dir(ctx), sources, progress)
    for line in (line for each in merged for line in each.conflicts):
        typer.echo(line, err=True)
    rows = [
        {"source": m.source, "new": m.new, "known": m.known, "still_running": m.running, "conflicts": len(m.conflicts)}
        for m in merged
    ]
    print_rows("sources", rows, format)


@storing.command(epilog="Example: bench store migrate --store old.db")
def migrate(ctx: typer.Context) -> None:
    """Migrate a database of an older version; every command that writes does it too."""
    from bench.results.database import database_file, plain
    from bench.results.migrations import CURRENT
    from bench.results.outcomes import open_store

    where = str(global_option(ctx, "store"))
    file = database_file(where)
    if file is not None and not file.exists():
        raise IncompleteError(f"There is no results database {plain(where)}: name one by --store.")
    store, _ = open_store(where, cache_dir(ctx))
    store.close()
    had = "was made now" if store.was is None else f"brought from schema version {store.was}"
    state = f"is up to date (schema version {CURRENT})" if store.was == CURRENT else f"{had} to {CURRENT}"
    typer.echo(f"{plain(store.where)}: {state}")
