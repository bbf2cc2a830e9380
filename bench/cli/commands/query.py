"""``bench query``: rank the photos of a run, or of any folder, by your own sketch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.options import Device, RunNumber, Weights
from bench.cli.output import Format, load_run, make_resources, print_rows, show_progress, write_output
from bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from bench.search.searcher import Match, Searcher

SMALL = 32  # pixels; size at which a sketch is checked
PICTURE = 256  # pixels; longer side in a strip or page

Photos = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of photos to search.", show_default="the run's gallery")
]


@app.command(epilog="Example: bench query 3 banana.png --photos ~/Pictures -o found.html")
def query(
    ctx: typer.Context,
    run: RunNumber,
    sketch: Annotated[Path, typer.Argument(metavar="SKETCH", help="Drawing on a light, dark or transparent ground.")],
    photos: Photos = None,
    count: Annotated[int, typer.Option("-k", "--count", min=1, help="Photos to show.")] = 20,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A .png strip or .html page with pictures.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    format: Format = "table",
) -> None:
    """Rank photos by your own sketch with the network of a run. Photos are embedded once and cached."""
    if output is not None and output.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"Results are written as .png or .html, not as {output.name}.")
    try:
        content = sketch.read_bytes()
    except OSError as error:
        raise DataError(f"Sketch {sketch} cannot be read ({error.strerror}): name a picture file.") from error
    if output is not None:
        write_output(output, None)  # a mistake shows before thousands of photos are embedded
    from bench.datasets.images.user_sketch import decode_sketch

    decode_sketch(content, str(sketch), SMALL)
    searcher = load_searcher(ctx, run, photos, weights)
    matches = searcher.query(content, str(sketch), count)
    if output is not None:
        write(searcher, run, sketch.name, content, matches, output)
    if format == "json" or output is None:
        rows = [asdict(each) for each in matches]
        instance = ("instance",) * any(each.instance for each in matches)
        print_rows("photos", rows, format, ("place", "path", "class_name", *instance, "similarity"), digits=3)


def load_searcher(ctx: typer.Context, run: int, photos: Path | None, weights: Path | None) -> Searcher:
    """Load the network of a run and embed the photos, with a progress bar on stderr."""
    from bench.search.searcher import open_searcher

    record = load_run(ctx, run, finished=True)
    with show_progress(ctx, f"{record.title}, run {run}", "embedding") as bars:
        return open_searcher(record, make_resources(ctx), photos=photos, weights=weights, progress=bars.progress)


def write(searcher: Searcher, run: int, name: str, sketch: bytes, matches: list[Match], path: Path) -> None:
    """Write the results as a strip or a page."""
    from bench.datasets.images.user_sketch import render_sketch
    from bench.reports.gallery import make_thumbnail
    from bench.reports.strip import draw_strip, render_page

    results = []
    for each in matches:
        what = each.instance or each.class_name or each.path.rpartition("/")[2]
        small = make_thumbnail(searcher.dataset.read(each.path), each.path, PICTURE)
        results.append((small, f"{what} {each.similarity:.2f}"))
    drawn = render_sketch(sketch, name, PICTURE)
    if path.suffix.lower() == ".png":
        content = draw_strip(drawn, results)
    else:
        which = f"Run {run}, {searcher.experiment.method.name}, of {len(searcher.photos)} photos"
        note = f"{which}; {searcher.similarity}."
        content = render_page(f"What {name} finds", note, drawn, results).encode()
    write_output(path, content)
