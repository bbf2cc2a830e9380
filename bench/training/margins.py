"""Find loss terms that taught nothing: at the value of a collapsed embedding, or always 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.methods.base import Method

TOLERANCE = 0.03  # of the margin
LAST = 3  # the last third of the training counts
LEAST = 9  # points of a curve that says something


def find_collapsed(method: Method, curve: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Loss terms whose mean over the last third of the ``curve`` is that of equal embeddings, with that value.

    None for a curve of a few steps.
    """
    last, found = curve[-(len(curve) // LAST) :], dict[str, float]()
    if len(curve) < LEAST:
        return found
    for term, margin in method.collapsed_losses.items():
        values = [point[term] for point in last if term in point]
        if values and abs(sum(values) / len(values) - margin) <= TOLERANCE * margin:
            found[term] = margin
    return found


def warnings_of(method: Method, curve: Sequence[Mapping[str, float]]) -> list[str]:
    """A warning with the ways out for each collapsed loss term, and for each that was 0 at every point."""
    collapsed = [
        f"Loss term {term!r} stands at its margin ({margin:.3g}): the embeddings that it compares are nearly equal. "
        "Take another --set mining=..., a lower --set head_lr=..., or a longer training."
        for term, margin in find_collapsed(method, curve).items()
    ]
    idle = [
        f"Loss term {term!r} is 0 at every step: batches lack the positives or negatives that it compares. "
        "Raise --batch-size, choose a --set photo_share=... nearer to 0.5, or leave more classes seen."
        for term in method.weights
        if curve and not any(point.get(term) for point in curve)
    ]
    return collapsed + idle
