"""Steps between embedding and ranking: binary codes or re-ranking. Their settings are part of a run's key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError
from bench.settings.run_settings import check, setting
from bench.types import Distance


@dataclass(frozen=True)
class PostProcessing:
    """Settings of the steps after embedding; the default is none.

    Binary codes (iterative quantisation) rank by Hamming distance. Re-ranking defaults: ICFRR d1fbf45 src/configs.py.
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
        """The distance that ranks the gallery."""
        return "cosine" if self.codes == "none" else "hamming"

    @property
    def title(self) -> str:
        """The suffix of a method's name in tables; empty without post-processing."""
        if self.codes == "none":
            return "" if self.rerank == "none" else "+ ICFRR re-ranking"
        images, width = "test queries" if self.codes == "itq-test" else "seen", f", {self.bits} bits" * bool(self.bits)
        return f"+ ITQ codes (fitted on {images}{width})"
