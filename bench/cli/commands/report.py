"""``bench report``: stored results as tables and pictures."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.options import Many
from bench.cli.output import global_option, open_store, print_table, write_output
from bench.errors import IncompleteError, UsageError, nearest

if TYPE_CHECKING:
    from bench.reports.base import Table
    from bench.results.store import Store


@app.command(epilog="Example: bench report -d emoji --kind all --format html -o report.html")
def report(
    ctx: typer.Context,
    dataset: Annotated[Many, typer.Option("-d", "--dataset", help="Only this dataset; repeatable.")] = None,
    method: Annotated[Many, typer.Option("-m", "--method", help="Only this method; repeatable.")] = None,
    split: Annotated[Many, typer.Option(help="Only this split; repeatable.")] = None,
    kind: Annotated[
        Many,
        typer.Option(
            help="main or another kind of `bench list reports`, or all; repeatable.",
            show_default="main; all for html",
        ),
    ] = None,
    protocol: Annotated[Many, typer.Option(help="Main table under this protocol; repeatable.")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="md or another format of `bench list reports`.", show_default="md; tables on a terminal"
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="PATH", help="File, or FOLDER/, instead of stdout.")
    ] = None,
    baseline: Annotated[str, typer.Option(metavar="METHOD", help="Show differences to this method.")] = "",
    published: Annotated[
        bool, typer.Option("--published/--no-published", help="Add published figures of the same split, marked.")
    ] = True,
    include_smoke: Annotated[bool, typer.Option(help="Add smoke tests (--limit), in tables of their own.")] = False,
    include_oracle: Annotated[bool, typer.Option(help="Add runs that chose their epoch on test classes.")] = False,
    digits: Annotated[int, typer.Option(min=1, max=9, help="Digits after the point.")] = 3,
    check: Annotated[Path | None, typer.Option(help="Exit 4 unless the report equals this file.")] = None,
) -> None:
    """Print stored results: one table for each dataset, split, gallery and protocol."""
    from bench.evaluation.metrics.base import FINE_GRAINED_METRICS, MAIN_METRICS
    from bench.evaluation.protocols.base import protocol_of
    from bench.reports.base import FORMATS, KINDS, Options
    from bench.reports.build import build
    from bench.reports.protocol_values import all_metric_ids
    from bench.reports.rows import Source
    from bench.types import AVERAGES

    if check is not None and output is not None:
        raise UsageError("--check compares with a file and writes none: leave out -o, or --check.")
    on_screen = format is None and output is None and check is None and sys.stdout.isatty()
    into_folder = output is not None and (output.endswith(("/", os.sep)) or Path(output).is_dir())
    path = None if output is None or into_folder else Path(output)
    writer = FORMATS.get(format or _format_of(path or check))
    kinds = list(dict.fromkeys(kind or (["all"] if writer.pictures else ["main"])))
    protocols = tuple(dict.fromkeys(protocol or ()))
    for each in set(kinds) - {"all"}:  # wrong names are found before the store is opened
        KINDS.get(each, "all")
    for each in protocols:
        protocol_of(each)
    methods = [*method, baseline.partition(" ")[0]] if method and baseline else method
    selection = {"dataset": dataset, "method": methods, "split": split}
    selected: dict[str, Any] = {column: values for column, values in selection.items() if values}
    all_ids = bool(protocols or {"all", "protocols"} & set(kinds))
    metrics = tuple(dict.fromkeys((*MAIN_METRICS, *FINE_GRAINED_METRICS, *(all_metric_ids() if all_ids else ()))))
    averages = AVERAGES if all_ids else AVERAGES[:1]
    with open_store(ctx) as store:
        runs = store.runs(metrics=metrics, averages=averages, **selected)
        if not runs or any(len(values) > 1 for values in selected.values()):
            refuse_unknown(store, selected)
        root = global_option(ctx, "data_root")
        included = {"include_smoke": include_smoke, "include_oracle": include_oracle}
        source = Source(store, runs, data_root=root, every_method=not method, **included)
        if not kind and not writer.pictures:
            own = {"main": source.of("class"), "fine-grained": source.of("instance")}
            kinds = [name for name, groups in own.items() if groups]
        built = build(source, kinds, Options(digits, protocols, baseline, published), pictures=writer.pictures)
        text = "" if on_screen else writer.write(built)
    if on_screen:
        show_tables(built.tables)
        for line in built.footer:
            typer.echo(f"- {line}")
    elif check is not None:
        compare(check, text)
    elif output is not None:
        write_output(path or Path(output) / f"report{writer.ending}", text)
    else:
        typer.echo(text, nl=False)
    for command in dict.fromkeys(command for table in built.tables for command in table.commands):
        typer.echo(f"missing: {command}", err=True)


def _format_of(path: Path | None) -> str:
    """The format of a file's ending; Markdown without one. Raises UsageError for an unknown one."""
    from bench.reports.base import FORMATS

    if path is None or not path.suffix:
        return "md"
    endings = {each.ending: name for name, each in FORMATS.items()}
    if path.suffix.lower() not in endings:
        raise UsageError(f"No report is written as {path.name}: end it in {', '.join(endings)}, or name a --format.")
    return endings[path.suffix.lower()]


def refuse_unknown(store: Store, selected: Mapping[str, Sequence[str]]) -> None:
    """Raise IncompleteError for a dataset, method or split without stored runs, with the nearest name."""
    every = store.runs(metrics=())
    for column, values in selected.items():
        known = {str(getattr(run, column)) for run in every}
        for value in values:
            if known and value not in known:
                raise IncompleteError(f"No run of {column} {value!r} is stored. {nearest(value, known)}")


def show_tables(tables: Sequence[Table]) -> None:
    """Print tables with their notes."""
    from bench.reports.base import plain

    for table in tables:
        rows = [[plain(cell) for cell in row] for row in table.rows]
        print_table(table.columns, rows, title=table.title)
        for note in table.notes:
            typer.echo(note)
        typer.echo()


def compare(path: Path, text: str) -> None:
    """Raise IncompleteError, and print the difference, unless the file holds ``text``."""
    try:
        committed = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"The file to check, {path}, cannot be read ({reason}).") from error
    if committed == text:
        return
    for line in difflib.unified_diff(committed.splitlines(), text.splitlines(), str(path), "this report", lineterm=""):
        typer.echo(line, err=True)
    raise IncompleteError(f"The report differs from {path}; write it again with -o {path} if the new one is right.")
