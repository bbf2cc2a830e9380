"""Rules by which a run chooses the epoch whose network it keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.errors import check_known


@dataclass(frozen=True)
class Selection:
    """One rule: ``needs`` is what it needs of every epoch, ``mark`` is the suffix of a method's name in reports."""

    name: str
    summary: str
    needs: Literal["nothing", "validation classes", "test scores"]
    mark: str = ""

    def choose(self, scores: Sequence[float]) -> int:
        """The epoch to keep, from 0: the last, or the first of those with the highest score.

        ``scores`` has one score per epoch. Raises ValueError when it is empty, or has NaN although scores decide.
        """
        if not scores:
            raise ValueError("there is no epoch to choose from")
        if self.needs == "nothing":
            return len(scores) - 1
        if any(math.isnan(score) for score in scores):
            raise ValueError(f"an epoch without a score cannot be compared: {list(scores)}")
        return list(scores).index(max(scores))


RULES: Mapping[str, Selection] = {
    rule.name: rule
    for rule in (
        Selection("last", "The network after the last epoch.", "nothing"),
        Selection(
            "seen-validation",
            "The epoch that retrieves best among seen classes that were held out of training.",
            "validation classes",
            "[selected on held-out seen classes]",
        ),
        Selection(
            "oracle",
            "The epoch that is best on the test itself: what many published scripts do, and no fair figure.",
            "test scores",
            "[oracle: selected on the test]",
        ),
    )
}


def selection(name: str) -> Selection:
    """The rule called ``name``; raises UsageError with the nearest when there is none."""
    check_known("There is no selection rule", name, RULES)
    return RULES[name]
