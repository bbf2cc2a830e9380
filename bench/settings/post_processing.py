"""What may happen between embeddings and ranks: binary codes, re-ranking. A choice of every run, and in its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError
from bench.settings.run_settings import check, setting
from bench.types import Distance


@dataclass(frozen=True)
class PostProcessing:
    """Settings of what follows embedding; by default nothing does.

    ``codes``: binary codes by iterative quantisation, fitted on the test queries as the field does it (``itq-test``) or
    on the training sketches alone (``itq-train``), of ``bits`` bits (0: as many as the embedding is wide), ranked by
    Hamming distance. ``rerank``: the order of the gallery smoothed over its own neighbourhoods (``icfrr``); with
    ``rerank_gallery`` neighbours of each photo, ``rerank_queries`` photos of each query, weight ``rerank_weight`` and
    ``rerank_passes`` passes. Defaults: ICFRR d1fbf45 src/configs.py.

    Raises UsageError for a number that is out of range, and for codes and re-ranking together.
    """

    codes: Literal["none", "itq-test", "itq-train"] = setting(
        "none", "binary codes by ITQ, fitted on the test images (as the field does it) or on the training images"
    )
    bits: int = setting(0, "bits of a code; 0: the width of the embedding", least=0)
    rerank: Literal["none", "icfrr"] = setting("none", "icfrr smooths the gallery's order over its own neighbourhoods")
    rerank_gallery: int = setting(256, "neighbours of each photo in re-ranking", least=1)
    rerank_queries: int = setting(250, "photos of each query that are re-ranked", least=1)
    rerank_weight: float = setting(0.5, "weight of the neighbourhoods against the first order")
    rerank_passes: int = setting(5, "passes of smoothing", least=1)

    def __post_init__(self) -> None:
        check(self)
        if self.codes != "none" and self.rerank != "none":
            raise UsageError("Binary codes and re-ranking do not combine: leave out codes=... or rerank=... .")

    @property
    def distance(self) -> Distance:
        """What the gallery is ranked by."""
        return "cosine" if self.codes == "none" else "hamming"

    @property
    def title(self) -> str:
        """What stands behind a method's name in tables; empty when nothing is done."""
        parts = []
        if self.codes != "none":
            width = f", {self.bits} bits" if self.bits else ""
            parts.append(
                f"+ ITQ codes ({'fitted on test queries' if self.codes == 'itq-test' else 'fitted on seen'}{width})"
            )
        if self.rerank != "none":
            parts.append("+ ICFRR re-ranking")
        return " ".join(parts)
