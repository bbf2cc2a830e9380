"""Binary codes by iterative quantisation (ITQ): principal axes, then the rotation that loses least by taking signs.

Published code fits them on the *test* sketches and centres each side with its own test mean (SEM-PCYC itq.py, copied by
DSN src/tool.py:101-157 and TCN util/tool.py:167-224), so every code depends on the whole test set. To fit on training
embeddings is the honest counterpart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.embeddings.arrays import Embeddings
from bench.errors import DataError
from bench.types import Doubles, Floats

ITERATIONS = 50
ROWS = 1024  # converted to float64 together


@dataclass(frozen=True)
class Itq:
    """A fitted quantiser: ``projection`` float64 [width, bits], ``sketch_mean`` and ``photo_mean`` float64 [width]."""

    projection: Doubles
    sketch_mean: Doubles
    photo_mean: Doubles

    def encode(self, embeddings: Embeddings) -> Embeddings:
        """Codes of 0 and 1, float32 [rows, bits], in place of the vectors."""
        query = self.codes(embeddings.query, self.sketch_mean)
        return replace(embeddings, query=query, gallery=self.codes(embeddings.gallery[:], self.photo_mean))

    def codes(self, vectors: Floats, mean: Doubles) -> Floats:
        """Codes float32 [rows, bits] of ``vectors`` float32 [rows, width] of the side that has this mean."""
        codes = np.empty((len(vectors), self.projection.shape[1]), dtype=np.float32)
        for begin in range(0, len(vectors), ROWS):
            part = slice(begin, begin + ROWS)
            codes[part] = (vectors[part] - mean) @ self.projection > 0
        return codes


def fit(
    sketches: Floats,
    photos: Floats,
    generator: np.random.Generator,
    *,
    bits: int | None = None,
    iterations: int = ITERATIONS,
) -> Itq:
    """Fit axes and rotation on ``sketches`` [rows, width]; centre photos with the mean of ``photos`` [rows, width].

    ``bits`` is by default the width. With V [rows, bits] the centred sketches on their first principal axes, alternate
    B = sign(V R) and the rotation R that brings V closest to B (orthogonal Procrustes: R = W U^T for B^T V = U S W^T),
    from a random rotation. Raises DataError for more bits than the width, and for NaN or infinity.
    """
    width = sketches.shape[1]
    bits = width if bits is None else bits
    if not 1 <= bits <= width:
        raise DataError(f"Binary codes of {bits} bits need vectors of at least that width; these have {width}.")
    means = [each.mean(axis=0, dtype=np.float64) for each in (sketches, photos)]
    if not np.isfinite(means).all():
        raise DataError("The embeddings to fit binary codes on hold NaN or infinity.")
    centred = sketches - means[0]  # float64
    axes = np.linalg.eigh(centred.T @ centred).eigenvectors[:, ::-1][:, :bits]  # eigh gives the smallest first
    reduced = centred @ axes
    rotation, _, _ = np.linalg.svd(generator.standard_normal((bits, bits)))
    for _ in range(iterations):
        signs = np.where(reduced @ rotation > 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(signs.T @ reduced)
        rotation = right.T @ left.T
    return Itq(axes @ rotation, *means)


def fit_published(embeddings: Embeddings, *, on_gallery: bool = False, iterations: int = ITERATIONS) -> Itq:
    """Fit on the test queries as published code does (MATHM: ``on_gallery``), with its mistake.

    That code computes R = W^T U^T, because numpy returns the transpose of W. So R does not come closer to B, and the
    loss does not fall. It always starts from the same random matrix.
    """
    sides = embeddings.query, embeddings.gallery[:]
    means = [each.mean(axis=0, dtype=np.float64) for each in sides]
    centred = sides[on_gallery] - means[on_gallery]  # float64
    axes = np.linalg.eigh(np.atleast_2d(np.cov(centred, rowvar=False)), "U").eigenvectors[:, ::-1]
    reduced = centred @ axes
    rotation, _, _ = np.linalg.svd(np.random.RandomState(ITERATIONS).randn(*axes.shape))  # that code's seed
    for _ in range(iterations):
        signs = np.where(reduced @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(signs.T @ reduced)
        rotation = right @ left.T
    return Itq(axes @ rotation, *means)
