"""``bench doctor``: what works on this machine."""

from __future__ import annotations

from dataclasses import asdict

import typer

from bench.cli.app import app
from bench.cli.output import Format, OutputFormat, cache_dir, global_option, print_json, print_rows

MARKS = {True: "yes", False: "NO", None: "-"}


@app.command(epilog="Example: [bold]bench doctor --format json[/bold]")
def doctor(ctx: typer.Context, format: Format = OutputFormat.table) -> None:
    """Check devices, weights, datasets, free disk space, the results database and packages; change nothing."""
    from bench.cli.machine_check import examine

    findings = examine(str(global_option(ctx, "store")), global_option(ctx, "data_root"), cache_dir(ctx))
    if format is OutputFormat.json:
        print_json([asdict(each) for each in findings])
    else:
        print_rows([{"part": e.part, "name": e.name, "usable": MARKS[e.fine], "found": e.found} for e in findings])
