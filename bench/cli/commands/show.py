"""``bench show``: one stored run in full."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bench.cli.app import app
from bench.cli.output import OutputFormat, opened_store, print_json, print_table

RUN = "run"


class Show(TyperGroup):
    """Takes what is no command of its own for the number of a run: ``bench show 3`` is ``bench show run 3``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of a number."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [RUN, *args]
        return super().parse_args(ctx, args)


showing = typer.Typer(cls=Show, no_args_is_help=True, help="One stored run: `bench show RUN`.")
app.add_typer(showing, name="show")


@showing.command(RUN, epilog="Example: [bold]bench show 3[/bold]")
def show_run(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="RUN", help="Number of the run, see `bench list runs`.")],
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """One stored run in full: request, settings, machine, how it ended, scores."""
    from bench.cli.run_table import in_full, scores_of

    store = opened_store(ctx)
    try:
        run, doing = store.run(number), store.doing()
    finally:
        store.close()
    facts = in_full(run, doing.get(run.id))
    if format is OutputFormat.json:
        print_json({**facts, "scores": scores_of(run)})
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            _lines(value, "  ")
        elif value not in (None, ""):
            typer.echo(f"{name:<14} {value}")
    if run.scores:
        cells = []
        for each in run.scores:
            value = "-" if math.isnan(each.value) else f"{each.value:.4f}"
            cells.append([each.metric, each.average, value, str(each.queries), str(each.skipped)])
        print_table(["metric", "mean over", "value", "queries", "skipped"], cells)


def _lines(values: dict[str, Any], indent: str) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            typer.echo(f"{indent}{name}:")
            _lines(value, indent + "  ")
        elif value not in ("", {}):
            typer.echo(f"{indent}{name:<18} {value}")
