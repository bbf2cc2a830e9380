"""``bench report``: stored results as tables."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.common import global_option
from bench.errors import IncompleteError, UsageError


@app.command(epilog="Example: [bold]bench report -d emoji --format md -o report.md[/bold]")
def report(
    ctx: typer.Context,
    dataset: Annotated[
        list[str] | None, typer.Option("-d", "--dataset", help="Only this dataset; may be repeated.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("-m", "--method", help="Only this method; may be repeated.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.")] = None,
    kind: Annotated[list[str], typer.Option(help="main, ablation, cost, or all; may be repeated.")] = ["main"],  # noqa: B006
    format: Annotated[str, typer.Option("--format", help="md, csv or json.")] = "md",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file instead of stdout.")] = None,
    include_smoke: Annotated[bool, typer.Option(help="Also runs of --limit, in tables of their own.")] = False,
    include_oracle: Annotated[bool, typer.Option(help="Also runs that chose their epoch on the test.")] = False,
    digits: Annotated[int, typer.Option(min=1, max=9, help="Digits behind the point.")] = 3,
    check: Annotated[Path | None, typer.Option(help="Exit 4 unless the report equals this file.")] = None,
) -> None:
    """Print stored results: one table for each dataset, split and gallery."""
    from bench.store import Store
    from reports.base import FORMATS, KINDS, Options
    from reports.build import build
    from reports.source import Source

    writer = FORMATS.get(format)
    for each in kind:
        if each != "all":
            KINDS.get(each)  # a wrong name is said before the store is opened
    where = global_option(ctx, "store")
    if "://" not in where and not Path(where).exists():
        raise IncompleteError(f"There is no results database {where}: run something first, or name one by --store.")
    store = Store(where)
    try:
        asked: dict[str, Any] = {"dataset": dataset, "method": method, "split": split}
        runs = store.runs(**{column: values for column, values in asked.items() if values})
        source = Source(store, runs, include_smoke=include_smoke, include_oracle=include_oracle)
        text = writer.write(build(source, kind, Options(digits)))
    finally:
        store.close()
    if check is not None:
        compare(check, text)
    elif output is not None:
        try:
            output.write_text(text)
        except OSError as error:
            raise UsageError(
                f"The report cannot be written to {output} ({error.strerror}): give another path."
            ) from error
    else:
        typer.echo(text, nl=False)


def compare(path: Path, text: str) -> None:
    """Raise IncompleteError, and show the difference on stderr, unless the file holds ``text``."""
    try:
        committed = path.read_text()
    except OSError as error:
        raise UsageError(f"The file to check, {path}, cannot be read ({error.strerror}).") from error
    if committed == text:
        return
    for line in difflib.unified_diff(committed.splitlines(), text.splitlines(), str(path), "this report", lineterm=""):
        typer.echo(line, err=True)
    raise IncompleteError(f"The report differs from {path}; write it anew with -o {path} if the new one is right.")
