"""The retrieval gallery: what single queries found, as a table of classes, and as pictures where a format has any."""

from __future__ import annotations

import base64
import io

import numpy as np

from bench.datasets.base import Dataset
from bench.datasets.published.request_split import reopen_split
from bench.errors import BenchError, IncompleteError
from bench.evaluation.metrics.base import MAIN_METRICS
from bench.reports.base import KINDS, PICTURES, Answer, Figure, Gallery, Options, Shown, Table
from bench.reports.cells import mean
from bench.reports.stored_runs import SEED, Group, Source
from bench.results import details
from bench.results.models import RunRecord
from bench.settings.request import Request
from bench.types import Split

METRIC = MAIN_METRICS[0]
EACH = 3  # queries of each sort
ANSWERS = 10  # photos of each query that are shown, though a run may have stored more
SIDE = 96  # pixels of a picture's longer side
RIGHT, WRONG = "✓", "✗"


def chosen(values: np.ndarray) -> list[tuple[str, int]]:
    """Queries to show by position, each with the reason: best, median, worst of ``values`` [queries], and random."""
    counted = np.flatnonzero(~np.isnan(values))
    order = counted[np.argsort(-values[counted], kind="stable")]
    middle = max(0, len(order) // 2 - EACH // 2)
    sorts = (("best", order[:EACH]), ("median", order[middle : middle + EACH]), ("worst", order[::-1][:EACH]))
    found = {int(query): what for what, queries in reversed(sorts) for query in queries}
    shown = [(what, int(query)) for what, queries in sorts for query in queries if found[int(query)] == what]
    rest = np.setdiff1d(counted, list(found))
    drawn = np.random.default_rng(SEED).permutation(rest)[:EACH]
    return [*shown, *(("random", int(query)) for query in drawn)]


def best_run(source: Source, group: Group) -> tuple[str, RunRecord, details.Top, details.PerQuery] | None:
    """The first seed of the best row whose best photos are stored, with the row's name and what is stored."""
    for row in sorted(group.rows, key=lambda row: (-mean(row.values(METRIC)), row.name)):
        run = row.runs[0]
        content, values = source.detail(run, details.TOP), source.per_query(run.id)
        if content is not None and values is not None:
            return row.name, run, details.top(content), values
    return None


@KINDS.register("gallery")
def gallery_tables(source: Source, options: Options) -> list[Table]:
    """For the best method of each table: best, median, worst and random queries with the classes that they found.

    Raises IncompleteError when no run was stored with its best photos.
    """
    tables = []
    for group in source.groups:
        found = best_run(source, group)
        if found is None:
            continue
        name, run, top, kept = found
        values = kept.of(METRIC)
        rows = []
        for what, query in chosen(values):
            answers = zip(top.labels[query][:ANSWERS], top.hits[query], strict=False)
            marks = [f"{RIGHT if hit else WRONG} {top.classes[each]}" for each, hit in answers if each >= 0]
            asked, value = top.classes[top.query_labels[query]], f"{values[query]:.{options.digits}f}"
            rows.append((what, asked, str(query), value, ", ".join(marks)))
        notes = (
            f"Run {run.id}, seed {run.seed}. {RIGHT} right class, {WRONG} another one; `--format html` shows pictures.",
        )
        columns = ("which", "sketch of", "query", METRIC, "best photos")
        tables.append(Table(f"Retrieval of {name}: {group.title}", columns, tuple(rows), notes))
    if not tables:
        raise IncompleteError("No run is stored with its best photos: run it again with --force and --save-topk 10.")
    return tables


@PICTURES.register("gallery")
def galleries(source: Source, options: Options) -> list[Figure | Gallery]:
    """The same with pictures, read through the dataset; a sentence where they are not at hand."""
    shown: list[Figure | Gallery] = []
    for group in source.groups:
        found = best_run(source, group)
        if found is None:
            continue
        name, run, top, kept = found
        title = f"Retrieval of {name}: {group.title}"
        try:
            request, dropped = Request.from_json(run.request), run.configuration.get("dropped", ())
            dataset, split = reopen_split(request, source.data_root, fingerprint=run.fingerprint, dropped=dropped)
        except BenchError as error:
            shown.append(Gallery(title, (), (f"No pictures: {error}",)))
            continue
        values = kept.of(METRIC)
        queries = tuple(
            _shown(dataset, split, top, query, what, f"{values[query]:.{options.digits}f}")
            for what, query in chosen(values)
        )
        notes = (f"Run {run.id}, seed {run.seed}; {METRIC} of each query.", f"Pictures: {dataset.licence}.")
        shown.append(Gallery(title, queries, notes))
    return shown


def _shown(dataset: Dataset, split: Split, top: details.Top, query: int, what: str, score: str) -> Shown:
    asked = split.queries[query]
    answers = []
    for position, hit in zip(top.positions[query][:ANSWERS], top.hits[query], strict=False):
        if position >= 0:
            item = split.gallery[position]
            answers.append(Answer(item.class_name, bool(hit), item.path, picture(dataset, item.path)))
    return Shown(what, asked.class_name, score, asked.path, picture(dataset, asked.path), tuple(answers))


def picture(dataset: Dataset, path: str, side: int = SIDE) -> str:
    """An image of a dataset as a small WebP in a data URI; ``""`` for one that cannot be read."""
    try:
        content = thumbnail(dataset.read(path), path, side)
    except (BenchError, OSError):  # a broken picture is no reason to go without the report
        return ""
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def thumbnail(content: bytes, name: str, side: int = SIDE) -> bytes:
    """A picture file as WebP on white, its longer side at most ``side`` pixels; raises DataError for a broken one."""
    from PIL import Image

    from bench.datasets.images.image_files import open_image, raise_data_error

    with raise_data_error(name), open_image(content) as opened:
        image = opened.convert("RGBA")
    image.thumbnail((side, side))
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    file = io.BytesIO()
    white.convert("RGB").save(file, "WEBP", quality=80, method=4)
    return file.getvalue()
