"""Kind ``gallery``: the photos that single queries retrieve, as a table of classes and as pictures."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np

from bench.datasets.base import Dataset
from bench.datasets.published.request_split import reopen_split
from bench.errors import BenchError, IncompleteError
from bench.evaluation.metrics.base import main_metrics
from bench.reports.base import (
    KINDS,
    PICTURES,
    Cell,
    Options,
    Plot,
    QueryExample,
    RetrievalExamples,
    RetrievedPhoto,
    Table,
    number,
)
from bench.reports.cells import mean
from bench.reports.rows import Group, Source
from bench.results import details
from bench.results.models import RunRecord
from bench.settings.request import Request
from bench.statistics.intervals import SEED
from bench.types import Item, Split

EACH = 3  # queries of each choice
PHOTOS = 10  # photos shown for each query
SIDE = 96  # pixels, longer side of a picture
RIGHT, WRONG = "✓", "✗"


def choose_queries(values: np.ndarray) -> list[tuple[str, int]]:
    """Queries to show: best, median and worst of ``values`` [queries], and random ones. Each is (choice, position)."""
    counted = np.flatnonzero(~np.isnan(values))
    order = counted[np.argsort(-values[counted], kind="stable")]
    middle = max(0, len(order) // 2 - EACH // 2)
    choices = (("best", order[:EACH]), ("median", order[middle : middle + EACH]), ("worst", order[::-1][:EACH]))
    choice_of: dict[int, str] = {}
    for choice, queries in choices:
        for query in queries:
            choice_of.setdefault(int(query), choice)
    rest = np.setdiff1d(counted, list(choice_of))
    random = np.random.default_rng(SEED).permutation(rest)[:EACH]
    return [*((choice, query) for query, choice in choice_of.items()), *(("random", int(query)) for query in random)]


def find_best_run(source: Source, group: Group) -> tuple[str, RunRecord, details.Top, details.PerQuery] | None:
    """The first seed of the best row with stored photos: name of the row, run, best photos and values of queries."""
    for row in sorted(group.rows, key=lambda row: (-mean(row.values(row.metric)), row.name)):
        run = row.runs[0]
        content, values = source.detail(run, details.TOP), source.per_query(run.id)
        if content is not None and values is not None:
            return row.name, run, details.top(content), values
    return None


@KINDS.register("gallery")
def gallery_tables(source: Source, options: Options) -> list[Table]:
    """For the best method of each table, the classes that best, median, worst and random queries retrieve.

    Raises IncompleteError if no run has stored its best photos.
    """
    tables = []
    for group in source.groups:
        best = find_best_run(source, group)
        if best is None:
            continue
        name, run, top, per_query = best
        values, fine = per_query.of(choice_metric(run)), run.relevance == "instance"
        rows = []
        for choice, query in choose_queries(values):
            photos = zip(top.labels[query][:PHOTOS], top.hits[query], strict=False)
            found = [(top.classes[each], bool(hit)) for each, hit in photos if each >= 0]
            marks = ", ".join(f"{RIGHT if right else WRONG} {name}" for name, right in found)
            best_photos = Cell(marks, value=[name for name, _ in found], right=[right for _, right in found])
            sketch, value = top.classes[top.query_labels[query]], number(float(values[query]), options.digits)
            rank = (number(true_rank(float(values[query]))),) if fine else ()
            rows.append((choice, sketch, number(query), value, *rank, best_photos))
        legend = f"{RIGHT} right class, {WRONG} another one"
        if fine:
            legend = f"{RIGHT} the true photo, {WRONG} another one; photos are named by their class"
        notes = (f"Run {run.id}, seed {run.seed}. {legend}; `--format html` shows pictures.",)
        added = ("rank of the true photo",) if fine else ()
        columns = ("which", "sketch of", "query", choice_metric(run), *added, "best photos")
        title = f"Retrieval of {name}: {group.title}"
        tables.append(Table(title, columns, tuple(rows), notes, facts=group.facts()))
    if not tables:
        raise IncompleteError("No run is stored with its best photos: run it again with --force and --save-topk 10.")
    return tables


@PICTURES.register("gallery")
def retrieval_examples(source: Source, options: Options) -> list[Plot | RetrievalExamples]:
    """The same queries with pictures from the dataset; a note replaces them if the dataset cannot be read."""
    found: list[Plot | RetrievalExamples] = []
    for group in source.groups:
        best = find_best_run(source, group)
        if best is None:
            continue
        name, run, top, per_query = best
        title = f"Retrieval of {name}: {group.title}"
        try:
            request, dropped = Request.from_json(run.request), run.configuration.get("dropped", ())
            dataset, split = reopen_split(request, source.data_root, fingerprint=run.fingerprint, dropped=dropped)
        except BenchError as error:
            found.append(RetrievalExamples(title, (), (f"No pictures: {error}",)))
            continue
        values = per_query.of(choice_metric(run))
        queries = tuple(
            _example(dataset, split, top, query, choice, float(values[query]), options.digits)
            for choice, query in choose_queries(values)
        )
        notes = (f"Run {run.id}, seed {run.seed}; {choice_metric(run)} of each query.", f"Pictures: {dataset.licence}.")
        found.append(RetrievalExamples(title, queries, notes))
    return found


def choice_metric(run: RunRecord) -> str:
    """The metric by which queries are best and worst: of a fine-grained run one that tells every rank apart."""
    return "MRR" if run.relevance == "instance" else main_metrics(run.relevance)[0]


def true_rank(mrr: float) -> int:
    """The rank of the true photo of a query, from its MRR."""
    return round(1 / mrr)


def _example(
    dataset: Dataset, split: Split, top: details.Top, query: int, choice: str, value: float, digits: int
) -> QueryExample:
    """A query with its best photos; in a fine-grained split also the true photo, wherever it ranks."""
    sketch, score = split.queries[query], f"{value:.{digits}f}"
    photos = []
    for position, hit in zip(top.positions[query][:PHOTOS], top.hits[query], strict=False):
        if position >= 0:
            photos.append(_retrieved(dataset, split.gallery[position], right=bool(hit)))
    if split.relevance == "instance":
        rank, wanted = true_rank(value), (sketch.class_name, sketch.instance)
        score = f"{score}, true photo at rank {rank}"
        if not any(photo.right for photo in photos):
            item = next(each for each in split.gallery if (each.class_name, each.instance) == wanted)
            photos.append(replace(_retrieved(dataset, item, right=True), place=rank))
    name = sketch.instance or sketch.class_name
    return QueryExample(choice, name, score, sketch.path, encode_picture(dataset, sketch.path), tuple(photos))


def _retrieved(dataset: Dataset, item: Item, *, right: bool) -> RetrievedPhoto:
    return RetrievedPhoto(item.instance or item.class_name, right, item.path, encode_picture(dataset, item.path))


def encode_picture(dataset: Dataset, path: str, side: int = SIDE) -> str:
    """An image of a dataset as a small WebP in a data URI; ``""`` if it cannot be read."""
    try:
        content = make_thumbnail(dataset.read(path), path, side)
    except (BenchError, OSError):  # one broken image does not stop the report
        return ""
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def make_thumbnail(content: bytes, name: str, side: int = SIDE) -> bytes:
    """An image file as WebP on white, at most ``side`` pixels on the longer side; raises DataError if it is broken."""
    from PIL import Image

    from bench.datasets.images.image_files import open_image, raise_data_error, scale_to_8_bits

    with raise_data_error(name), open_image(content) as opened:
        image = scale_to_8_bits(opened).convert("RGBA")
    image.thumbnail((side, side))
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    file = io.BytesIO()
    white.convert("RGB").save(file, "WEBP", quality=80, method=4)
    return file.getvalue()
