"""Rankings and relevance as TREC text files, which ranx, ir_measures and trec_eval read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.embeddings.arrays import Rankable, ScoreMatrix, labels_within_groups
from bench.errors import UsageError
from bench.evaluation.ranking import rank
from bench.types import Distance, Labels

PLACES = 2**22  # ranked at once: queries times photos
TAG = "bench"


def write_run(path: Path, embeddings: Rankable, distance: Distance, device: str) -> None:
    """Write the whole ranking of every query: ``q0 Q0 g17 1 600 bench`` a line, row numbers from 0.

    The fifth column counts down from the number of photos, so that every program keeps the order of equal similarities.
    Raises UsageError if the file cannot be written.
    """
    _write(path, (line for row, photos in _rankings(embeddings, distance, device) for line in _run_lines(row, photos)))


def write_qrels(path: Path, embeddings: Rankable) -> None:
    """Write the relevant photos of every query: ``q0 0 g17 1`` a line; a query without any has no line.

    Raises UsageError if the file cannot be written.
    """
    queries, photos = labels_within_groups(embeddings)
    _write(
        path,
        (f"q{row} 0 g{photo} 1\n" for row, label in enumerate(queries) for photo in np.flatnonzero(photos == label)),
    )


def _rankings(embeddings: Rankable, distance: Distance, device: str) -> Iterator[tuple[int, Labels]]:
    """Every query (by row) with the positions of its photos, best first."""
    count = embeddings.gallery.shape[0]
    step = max(1, PLACES // count)
    for begin in range(0, len(embeddings.query), step):
        rows = slice(begin, begin + step)
        groups = None if embeddings.query_groups is None else embeddings.query_groups[rows]
        labels: dict[str, Any] = {"query_labels": embeddings.query_labels[rows], "query_groups": groups}
        part: Rankable
        if isinstance(embeddings, ScoreMatrix):
            part = replace(embeddings, scores=embeddings.scores[rows], query_clusters=None, **labels)
        else:
            part = replace(embeddings, query=embeddings.query[rows], query_clusters=None, **labels)
        best = rank(part, (), distance=distance, top=count, device=device).top
        for row, photos in enumerate(() if best is None else best, start=begin):
            yield row, photos[photos >= 0]  # a query sees the photos of its group


def _run_lines(row: int, photos: Labels) -> Iterator[str]:
    count = len(photos)
    ranked = enumerate(photos.tolist(), start=1)
    return (f"q{row} Q0 g{photo} {place} {count - place + 1} {TAG}\n" for place, photo in ranked)


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
