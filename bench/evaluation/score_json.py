"""Figures, sizes and warnings as the JSON of ``bench score`` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bench.embeddings.arrays import Rankable, Rows, ScoreMatrix, all_equal
from bench.evaluation.protocol_scores import Figure

BOUNDS = ("pessimistic", "optimistic", "tied")  # fields of a figure that only hamming has
EQUAL = 1e-6  # relative difference of numbers that count as equal

Figures = Mapping[str, Sequence[Figure]]  # by protocol; "" without one


def figure_rows(found: Figures) -> list[dict[str, Any]]:
    """Figures as JSON has them: the protocol if there is one, bounds if ranked by hamming, null for NaN."""
    rows = []
    for name, figures in found.items():
        for each in figures:
            row = {key: None if value != value else value for key, value in asdict(each).items()}
            if each.distance != "hamming":
                row = {key: value for key, value in row.items() if key not in BOUNDS}
            rows.append({"protocol": name, **row} if name else row)
    return rows


def count_rows(embeddings: Rankable) -> dict[str, int]:
    """The sizes of what was ranked, for JSON."""
    (queries, width), classes = embeddings.query.shape, len(set(embeddings.clusters.tolist()))
    of_vectors = {} if isinstance(embeddings, ScoreMatrix) else {"width": width}
    return {"queries": queries, "photos": embeddings.gallery.shape[0], **of_vectors, "classes": classes}


def find_warnings(embeddings: Rankable) -> list[str]:
    """Sentences about sides whose vectors are all equal, so that the figures mean nothing."""
    if isinstance(embeddings, ScoreMatrix):
        return []
    sides: dict[str, Rows] = {"photos": embeddings.gallery, "queries": embeddings.query}
    equal = [name for name, rows in sides.items() if all_equal(rows, EQUAL * float(np.abs(rows[:1]).max()))]
    return [f"All {name} have the same embedding: the figures say nothing about the method." for name in equal]
