"""What happens between training and ranking. It is part of a run's key, but not of its training's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError
from bench.settings.run_settings import LEAST_SIZE, check, setting
from bench.types import Distance


@dataclass(frozen=True)
class PostProcessing:
    """Settings of a trained network's test.

    Networks often rank better at a larger size than that of training (Touvron et al., "Fixing the train-test
    resolution discrepancy", NeurIPS 2019). Binary codes (iterative quantisation) rank by Hamming distance. Re-ranking
    defaults: ICFRR d1fbf45 src/configs.py. Raises UsageError for a number that is out of range, and for codes and
    re-ranking together.
    """

    test_size: int = setting(0, "side of a test image in pixels; 0: image_size", least=0, later=True)
    test_mirror: bool = setting(False, "take the mean embedding of a test image and its mirror image", later=True)
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
        if 0 < self.test_size < LEAST_SIZE:
            raise UsageError(f"Setting 'test_size' is {self.test_size}, but must be 0 or at least {LEAST_SIZE}.")
        if self.codes != "none" and self.rerank != "none":
            raise UsageError("Binary codes and re-ranking do not combine: leave out codes=... or rerank=... .")

    @property
    def distance(self) -> Distance:
        """The distance that ranks the gallery."""
        return "cosine" if self.codes == "none" else "hamming"

    @property
    def title(self) -> str:
        """The suffix of a method's name in tables; empty without post-processing."""
        images, width = "test queries" if self.codes == "itq-test" else "seen", f", {self.bits} bits" * bool(self.bits)
        steps = {
            f"+ test at {self.test_size} px": self.test_size > 0,
            "+ mirror images": self.test_mirror,
            f"+ ITQ codes (fitted on {images}{width})": self.codes != "none",
            "+ ICFRR re-ranking": self.rerank != "none",
        }
        return " ".join(step for step, taken in steps.items() if taken)
