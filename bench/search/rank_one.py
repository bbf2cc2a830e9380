"""Photos ranked for one sketch at a time, as a run ranks them for all: by cosine, binary codes or re-ranked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings, Rows
from bench.embeddings.binary_codes import Itq
from bench.evaluation.reranking import Icfrr
from bench.settings.post_processing import PostProcessing
from bench.types import Floats

AT_ONCE = 2**16  # photos of a gallery on the disk that are looked at together


class SingleQuery:
    """The photos of ``gallery`` [photos, width] in the order that a run's settings ask for.

    ``gallery`` is float32, or rows that are read in blocks at each query. ``quantiser`` is the one of a run with binary
    codes; those and re-ranking need the gallery as a whole. What re-ranking needs of it is found once.
    """

    def __init__(self, gallery: Floats | Rows, post: PostProcessing, quantiser: Itq | None = None) -> None:
        self._quantiser, self._codes, self._rescore = quantiser, None, None
        self._gallery = gallery if not isinstance(gallery, np.ndarray) else _unit(gallery)
        if isinstance(gallery, np.ndarray):
            self._codes = None if quantiser is None else quantiser.of_photos(gallery)
            none = np.zeros(len(gallery), dtype=np.int64)  # labels, which re-ranking does not look at
            self._rescore = Icfrr(Embeddings(gallery, gallery, none, none), post) if post.rerank == "icfrr" else None

    @property
    def measure(self) -> str:
        """What the similarity of a photo is, in words."""
        if self._quantiser is not None:
            return f"part of {self._quantiser.projection.shape[1]} bits that agree"
        return "cosine similarity" + (", order re-ranked" if self._rescore is not None else "")

    def __call__(self, sketch: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
        """Positions, best first (ties by position), and similarities by position: both [photos].

        ``sketch`` is float32 [1, width].
        """
        if self._quantiser is not None and self._codes is not None:
            alike: Floats = (self._codes == self._quantiser.of_sketches(sketch)).mean(axis=1, dtype=np.float32)
            return np.argsort(-alike, kind="stable"), alike
        cosines = self._cosines(_unit(sketch)[0])
        scores = cosines.copy()
        if self._rescore is not None:
            self._rescore(scores[None])  # in place
        return np.argsort(-scores, kind="stable"), cosines

    def _cosines(self, unit: Floats) -> Floats:
        if isinstance(self._gallery, np.ndarray):
            whole: Floats = self._gallery @ unit
            return whole
        photos = self._gallery.shape[0]
        spans = [(begin, min(begin + AT_ONCE, photos)) for begin in range(0, photos, AT_ONCE)]
        return np.concatenate([_unit(self._gallery.vectors(*span)) @ unit for span in spans])


def _unit(vectors: Floats) -> Floats:
    """Rows scaled to length 1, float32 [rows, width]; rows of zeros stay."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit
