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


def find_idle(method: Method, curve: Sequence[Mapping[str, float]]) -> list[str]:
    """Loss terms that were 0 at every point of the ``curve``: no batch had images that they compare."""
    return [term for term in method.weights if curve and not any(point.get(term) for point in curve)]


def describe_idle(term: str) -> str:
    """A warning with the ways out.

    >>> describe_idle("quadruplet")[:48]
    "Loss term 'quadruplet' is 0 at every step: batch"
    """
    return (
        f"Loss term {term!r} is 0 at every step: batches lack the positives or negatives that it compares. "
        "Raise --batch-size, choose a --set photo_share=... nearer to 0.5, or leave more classes seen."
    )


def describe_collapse(term: str, margin: float) -> str:
    """A warning with the ways out.

    >>> describe_collapse("triplet", 0.3)[:52]
    "Loss term 'triplet' stands at its margin (0.3): the "
    """
    return (
        f"Loss term {term!r} stands at its margin ({margin:.3g}): the embeddings that it compares are nearly equal. "
        "Take another --set mining=..., a lower --set head_lr=..., or a longer training."
    )
