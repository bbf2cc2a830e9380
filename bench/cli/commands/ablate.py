"""``bench ablate``: a method and its ablations, on the same seeds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.options import RunOptions, takes_run_options
from bench.cli.output import OutputFormat
from bench.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from bench.results.models import RunRecord
    from bench.results.store import Store


@app.command(epilog="Example: [bold]bench ablate -d emoji --seeds 5[/bold]")
@takes_run_options
def ablate(
    ctx: typer.Context,
    *,
    method: Annotated[str, typer.Option("-m", "--method", help="Method whose parts are left out.")] = "ours",
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out this term only; may be repeated.", show_default="each in turn")
    ] = None,
    all_subsets: Annotated[bool, typer.Option(help="Every choice of loss terms: each alone, pairs ...")] = False,
    structural: Annotated[bool, typer.Option(help="Add the structural ablations, such as unbalanced.")] = False,
    options: RunOptions,
) -> None:
    """Run a method in full and with parts left out, on the same seeds, so that differences are paired.

    After the runs a table shows what each part contributes: the difference to the full method with its 95 % interval
    and adjusted p. `bench report --kind ablation` shows the same for all stored runs, also as JSON. Stored runs are
    reused.
    """
    from bench.cli.run_cells import chosen_seeds, request, run_all
    from bench.experiments.ablations import ablations

    if all_subsets and without:
        raise UsageError("--all-subsets leaves out every choice of terms: leave out --without.")
    rows = ablations(method, without=without or (), all_subsets=all_subsets, structural=structural)
    requests = [
        request(options, method, each_dataset, each_seed, without=row.without, structural=row.structural)
        for each_dataset in options.dataset
        for each_seed in chosen_seeds(options)  # a whole table of one seed first: an early end leaves whole tables
        for row in rows
    ]
    run_all(ctx, requests, options, _show)


def _show(done: list[tuple[RunRecord, bool]], format: OutputFormat, store: Store) -> None:
    """The runs, and in a table's format the differences of these runs to those of the full method."""
    from bench.cli.commands.report import show_tables
    from bench.cli.run_table import show
    from bench.reports.ablation import ablation_tables
    from bench.reports.base import Options
    from bench.reports.stored_runs import Source

    show(done, format, store)
    runs = [record for record, _ in done]
    if format is OutputFormat.json or not runs:
        return
    source = Source(store, runs, include_smoke=True, include_oracle=True)
    with suppress(IncompleteError):  # the full method failed, or everything else did
        show_tables(ablation_tables(source, Options()))
