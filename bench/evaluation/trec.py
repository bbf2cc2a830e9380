"""Rankings and relevance as TREC text files, which ranx, ir_measures and trec_eval read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bench.embeddings.arrays import Rankable, labels_within_groups, select
from bench.errors import UsageError
from bench.evaluation.ranking import rank
from bench.types import Distance

PLACES = 2**22  # ranked at once: queries times photos
TAG = "bench"


def write_run(path: Path, embeddings: Rankable, distance: Distance, device: str) -> None:
    """Write the whole ranking of every query: ``q0 Q0 g17 1 600 bench`` a line, row numbers from 0.

    The fifth column counts down from the number of photos, so that every program keeps the order of equal similarities.
    Raises UsageError if the file cannot be written.
    """
    _write(path, _run_lines(embeddings, distance, device))


def write_qrels(path: Path, embeddings: Rankable) -> None:
    """Write the relevant photos of every query: ``q0 0 g17 1`` a line; a query without any has no line.

    Raises UsageError if the file cannot be written.
    """
    queries, photos = labels_within_groups(embeddings)
    _write(
        path,
        (f"q{row} 0 g{photo} 1\n" for row, label in enumerate(queries) for photo in np.flatnonzero(photos == label)),
    )


def _run_lines(embeddings: Rankable, distance: Distance, device: str) -> Iterator[str]:
    count, queries = embeddings.gallery.shape[0], np.arange(len(embeddings.query))
    step = max(1, PLACES // count)
    for begin in range(0, len(queries), step):
        part = select(embeddings, queries[begin : begin + step])
        for row, best in enumerate(rank(part, (), distance=distance, top=count, device=device).top, start=begin):
            photos = best[best >= 0].tolist()  # a query sees the photos of its group
            for place, photo in enumerate(photos, start=1):
                yield f"q{row} Q0 g{photo} {place} {len(photos) - place + 1} {TAG}\n"


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write a file as a whole: an interrupted one leaves nothing."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("w") as file:
            file.writelines(lines)
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): give another path.") from error
    finally:
        temporary.unlink(missing_ok=True)
