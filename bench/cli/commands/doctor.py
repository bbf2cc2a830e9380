"""``bench doctor``: what works on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.output import OutputFormat, cache_dir, global_option, print_json, print_table


@app.command(epilog="Example: [bold]bench doctor --format json[/bold]")
def doctor(
    ctx: typer.Context,
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """Look at devices, weights, data sets, free disk space, the results database and packages; changes nothing."""
    from bench.cli.machine_check import examine

    found = examine(str(global_option(ctx, "store")), global_option(ctx, "data_root"), cache_dir(ctx))
    if format is OutputFormat.json:
        print_json([{"part": each.part, "name": each.name, "fine": each.fine, "found": each.found} for each in found])
        return
    marks = {True: "yes", False: "NO", None: "-"}
    print_table(["part", "name", "usable", "found"], [[e.part, e.name, marks[e.fine], e.found] for e in found])
