"""``bench show``: one stored run in full."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from bench.cli.app import app
from bench.cli.options import RunNumber
from bench.cli.output import Format, cache_dir, open_store, print_facts, print_json, print_rows

SHOWN = 10  # points of the loss curve in a table


class Show(TyperGroup):
    """``bench show 3`` is ``bench show run 3``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of a number."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


showing = typer.Typer(cls=Show, no_args_is_help=True, help="One stored run: `bench show RUN`.")
app.add_typer(showing, name="show")


@showing.command("run", epilog="Example: bench show 3")
def show_run(ctx: typer.Context, number: RunNumber, format: Format = "table") -> None:
    """Show everything stored of one run: request, settings, machine, how it ended, scores, loss curve.

    Also the files of this machine: the trained network, and the folder of your own images.
    """
    from bench.cli.run_table import find_networks, make_page, make_scores
    from bench.datasets.published.request_split import remembered_folder
    from bench.results import details

    with open_store(ctx) as store:
        run, doing = store.run(number), store.doing()
        content = store.detail(number, details.HISTORY)
    facts, scores = make_page(run, doing.get(run.id), find_networks(cache_dir(ctx))), make_scores(run)
    root, curve = remembered_folder(run.fingerprint, cache_dir(ctx)), details.history(content) if content else []
    facts["root"] = str(root) if root else None
    if format == "json":
        print_json({**facts, "scores": scores, "curve": curve})
        return
    print_facts(facts)
    for name, rows in (("scores", scores), ("curve", curve[:: -(-len(curve) // SHOWN) or 1])):
        if rows:
            typer.echo()
            print_rows(name, rows)
