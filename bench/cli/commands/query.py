"""``bench query``: rank the photos of a run, or of any folder, by your own sketch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.options import Device
from bench.cli.output import OutputFormat, cache_dir, global_option, load_run, print_json, print_table
from bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from bench.search.searcher import Match, Searcher

SMALL = 32  # pixels of the side of a sketch that is only looked at to see whether it is one
PICTURE = 256  # pixels of the longer side of a picture in a strip or page

RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="Number of a finished run.")]
Photos = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Search this folder of photos.", show_default="the run's gallery")
]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Weights file that the run began with, if any.")]


@app.command(epilog="Example: [bold]bench query 3 banana.png --photos ~/Pictures -o found.html[/bold]")
def query(
    ctx: typer.Context,
    run: RunNumber,
    sketch: Annotated[
        Path, typer.Argument(metavar="SKETCH", help="Drawing: ink on white, white on black, transparent.")
    ],
    photos: Photos = None,
    count: Annotated[int, typer.Option("-k", "--count", min=1, help="Photos to show.")] = 20,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A .png strip or .html page with pictures.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table,
) -> None:
    """Rank photos by your own sketch with the network that a run trained. Photos are embedded once and cached."""
    if output is not None and output.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"Results are written as .png or .html, not as {output.name}.")
    try:
        content = sketch.read_bytes()
    except OSError as error:
        raise DataError(f"Sketch {sketch} cannot be read ({error.strerror}): name a picture file.") from error
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"The results cannot be written to {output} (no such folder): give another path.")
    from bench.datasets.images.user_sketch import decode_sketch

    decode_sketch(content, str(sketch), SMALL)  # an error comes before thousands of photos are embedded
    searcher = load_searcher(ctx, run, photos, weights, device)
    matches = searcher.query(content, str(sketch), count)
    if output is not None:
        write(searcher, run, sketch.name, content, matches, output)
    if format is OutputFormat.json:
        from dataclasses import asdict

        print_json([asdict(each) for each in matches])
    elif output is None:
        print_table(
            ["place", "photo", "class", searcher.similarity],
            [[str(each.place), each.path, each.class_name, f"{each.similarity:.3f}"] for each in matches],
        )


def load_searcher(ctx: typer.Context, run: int, photos: Path | None, weights: Path | None, device: str) -> Searcher:
    """Load the network of a run and embed the photos, with a progress bar on stderr."""
    from bench.cli.progress import Bars
    from bench.experiments.experiment import Resources
    from bench.search.searcher import open_searcher

    resources = Resources(global_option(ctx, "data_root"), cache_dir(ctx), device=device)
    record = load_run(ctx, run, finished=True)
    with Bars(f"{record.title}, run {run}", quiet=bool(global_option(ctx, "quiet"))) as bars:
        bars.phase("embedding")
        return open_searcher(
            record,
            resources,
            photos=photos,
            weights=weights,
            progress=lambda done, total: bars.progress(done, total, {}),
        )


def write(searcher: Searcher, run: int, name: str, sketch: bytes, matches: list[Match], path: Path) -> None:
    """A strip or a page of the results; raises UsageError where it cannot be written."""
    from bench.datasets.images.user_sketch import render_sketch
    from bench.reports.gallery import make_thumbnail
    from bench.reports.strip import draw_strip, render_page

    results = []
    for each in matches:
        what = each.class_name or each.path.rpartition("/")[2]
        small = make_thumbnail(searcher.dataset.read(each.path), each.path, PICTURE)
        results.append((small, f"{what} {each.similarity:.2f}"))
    drawn = render_sketch(sketch, name, PICTURE)
    if path.suffix.lower() == ".png":
        content = draw_strip(drawn, results)
    else:
        which = f"Run {run}, {searcher.experiment.method.name}, of {len(searcher.photos)} photos"
        note = f"{which}; {searcher.similarity}."
        content = render_page(f"What {name} finds", note, drawn, results).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"The results cannot be written to {path} ({error.strerror}): give another path.") from error
