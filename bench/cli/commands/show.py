"""``bench show``: one stored run in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from bench.cli.app import app
from bench.cli.options import RunNumber
from bench.cli.output import Format, OutputFormat, open_store, print_json, print_rows

RUN = "run"


class Show(TyperGroup):
    """``bench show 3`` is ``bench show run 3``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of a number."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [RUN, *args]
        return super().parse_args(ctx, args)


showing = typer.Typer(cls=Show, no_args_is_help=True, help="One stored run: `bench show RUN`.")
app.add_typer(showing, name="show")


@showing.command(RUN, epilog="Example: [bold]bench show 3[/bold]")
def show_run(ctx: typer.Context, number: RunNumber, format: Format = OutputFormat.table) -> None:
    """Show everything stored of one run: request, settings, machine, how it ended, scores."""
    from bench.cli.run_table import make_page, make_scores

    with open_store(ctx) as store:
        run, doing = store.run(number), store.doing()
    facts, scores = make_page(run, doing.get(run.id)), make_scores(run)
    if format is OutputFormat.json:
        print_json({**facts, "scores": scores})
        return
    _print(facts, 14)
    if scores:
        values = ["-" if each["value"] is None else f"{each['value']:.4f}" for each in scores]
        rows = [
            {**each, "mean over": each["average"], "value": text} for each, text in zip(scores, values, strict=True)
        ]
        print_rows(rows, columns=("metric", "mean over", "value", "queries", "skipped"))


def _print(values: Mapping[str, Any], width: int, indent: str = "") -> None:
    """Print facts line by line, nested ones indented; empty ones are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping) and (value or not indent):
            typer.echo(f"{indent}{name}:")
            _print(value, 18, indent + "  ")
        elif value not in ("", {}) and (indent or value is not None):
            typer.echo(f"{indent}{name:<{width}} {value}")
