"""``bench cache``: what the cache folder holds, and how to delete what is old."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bench.cli.app import app
from bench.cli.output import Format, cache_dir, print_rows

KEPT = ("outcomes", "folders")  # results that no database has yet, and the places of folders


class Cache(TyperGroup):
    """``bench cache`` is ``bench cache size``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of options."""
        first = args[0] if args else "--format"
        return super().parse_args(ctx, ["size", *args] if first.startswith("--format") else args)


caching = typer.Typer(cls=Cache, help="The cache folder: its size by kind, and how to clean it.")
app.add_typer(caching, name="cache")


@caching.command(epilog="Example: bench cache")
def size(ctx: typer.Context, format: Format = "table") -> None:
    """Show files and size of each kind: networks, embeddings, checkpoints and so on; also `bench cache`."""
    folder = cache_dir(ctx)
    kinds = sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    rows = []
    for kind in kinds:
        files = [each for each in kind.rglob("*") if each.is_file()]
        megabytes = sum(each.stat().st_size for each in files) / 1e6
        rows.append({"kind": kind.name, "files": len(files), "megabytes": megabytes, "cleaned": kind.name not in KEPT})
    typer.echo(folder, err=True)
    print_rows("kinds", rows, format, digits=1)


@caching.command(epilog="Example: bench cache clean --older-than 30")
def clean(
    ctx: typer.Context,
    older_than: Annotated[float, typer.Option(min=0, help="Days since an entry was written.")],
) -> None:
    """Delete old entries, which are computed again when they are needed. Results not yet in a database are kept."""
    limit, count, freed = time.time() - 86_400 * older_than, 0, 0
    for entry in (each for each in cache_dir(ctx).glob("*/*") if each.parent.name not in KEPT):
        files = [each for each in (entry, *entry.rglob("*")) if each.is_file()]
        if max((each.stat().st_mtime for each in files), default=0) > limit:
            continue
        count, freed = count + 1, freed + sum(each.stat().st_size for each in files)
        shutil.rmtree(entry) if entry.is_dir() else Path(entry).unlink()
    typer.echo(f"deleted {count} entries, {freed / 1e6:.1f} MB")
