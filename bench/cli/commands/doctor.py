"""``bench doctor``: what works on this machine."""

from __future__ import annotations

import typer

from bench.cli.app import app
from bench.cli.output import Format, cache_dir, global_option, print_rows


@app.command(epilog="Example: bench doctor --format json")
def doctor(ctx: typer.Context, format: Format = "table") -> None:
    """Check devices, weights, datasets, free disk space, the results database and packages; change nothing."""
    from bench.cli.machine_check import examine

    findings = examine(str(global_option(ctx, "store")), global_option(ctx, "data_root"), cache_dir(ctx))
    print_rows("findings", findings, format)
