"""The tie rule: photos of equal score rank by their position in the gallery.

Real-valued embeddings hardly tie. Binary codes have few distinct distances, so figures by Hamming distance come with
two bounds: among equal scores, irrelevant photos rank first (``pessimistic``) or last (``optimistic``).
"""

from __future__ import annotations

from typing import Literal, get_args

from bench.types import Distance

Ties = Literal["index", "pessimistic", "optimistic"]
TIES: tuple[Ties, ...] = get_args(Ties)
INDEX, PESSIMISTIC, OPTIMISTIC = range(len(TIES))  # their numbers in compiled code


def tie_rules(distance: Distance) -> tuple[Ties, ...]:
    """The rules that figures of a distance are computed by."""
    return TIES if distance == "hamming" else ("index",)
