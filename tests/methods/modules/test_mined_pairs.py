"""MATHM's three mined pairs against hand-worked numbers, plain loops in float64, and numeric gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.methods.modules import losses
from bench.methods.modules.losses import balanced_quadruplet, mined_pairs

MARGIN = 0.2
CUT = 1e-9  # torch's softplus is linear where it differs from that by less


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Four classes, two sketches and two photos of each."""
    labels = torch.arange(4).repeat_interleave(2).repeat(2)
    random = torch.Generator().manual_seed(seed)
    return torch.randn(16, 6, generator=random, dtype=torch.float64), labels, torch.arange(16) >= 8


def pairs_by_loops(embedding: Tensor, labels: Tensor, is_photo: Tensor, *, weighted: bool) -> float:
    unit, count = [each / each.norm() for each in embedding], len(labels)
    pairs, slopes = [], []
    for positive_within, negative_within in ((True, True), (False, True), (False, False)):
        values = []
        for a in range(count):
            positives, negatives = (
                [
                    float((unit[a] - unit[b]).norm())
                    for b in range(count)
                    if b != a and bool(labels[a] == labels[b]) == same and bool(is_photo[a] == is_photo[b]) == within
                ]
                for same, within in ((True, positive_within), (False, negative_within))
            )
            if positives and negatives:
                values.append(MARGIN + max(positives) - min(negatives))
        if values:
            pairs.append(sum(math.log1p(math.exp(20 * v)) / 20 for v in values) / len(values))
            slopes.append(sum(1 / (1 + math.exp(-20 * v)) for v in values) / len(values))
    weights = [sum(slopes) / len(slopes) / max(slope, 0.1) if weighted else 1.0 for slope in slopes]
    return sum(weight * pair for weight, pair in zip(weights, pairs, strict=True))


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_pairs_equal_plain_loops(seed: int, weighted: bool) -> None:
    embedding, labels, is_photo = batch(seed)
    embedding[labels == 0] += 5 * torch.ones(6, dtype=torch.float64)  # one class apart, so that slopes differ
    loss = mined_pairs(embedding, labels, is_photo, MARGIN, weighted=weighted)
    assert float(loss) == pytest.approx(pairs_by_loops(embedding, labels, is_photo, weighted=weighted), abs=CUT)


@pytest.mark.parametrize("weighted", [True, False])
def test_anchors_without_a_pair_are_left_out(weighted: bool) -> None:
    embedding, labels, is_photo = batch(4)
    kept = torch.tensor([0, 2, 3, 4, 8, 9, 10, 14])  # classes with one sketch, without photos, and without sketches
    part = embedding[kept], labels[kept], is_photo[kept]
    loss = mined_pairs(*part, MARGIN, weighted=weighted)
    assert float(loss) == pytest.approx(pairs_by_loops(*part, weighted=weighted), abs=CUT)


def test_the_pairs_by_hand() -> None:
    # Sketch and photo of class 0 at 0 and 60 degrees, of class 1 at 180 and 120: no image has a positive of its domain.
    # Chords are 2 sin(angle / 2): d(0, 60) = d(60, 120) = d(120, 180) = 1, d(0, 180) = 2, d(0, 120) = d(60, 180) = r.
    angles = torch.tensor([0.0, 180.0, 60.0, 120.0], dtype=torch.float64) * math.pi / 180
    embedding = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([[1.0], [2.0], [3.0], [0.5]])
    labels, is_photo, r = torch.tensor([0, 1, 0, 1]), torch.tensor([False, False, True, True]), math.sqrt(3)
    own = [0.2 + 1 - 2, 0.2 + 1 - 2, 0.2 + 1 - 1, 0.2 + 1 - 1]  # cross positive, negative of the own domain
    cross = [0.2 + 1 - r] * 4  # cross positive, negative of the other domain

    def mean(values: list[float], function: Any) -> float:
        return sum(map(function, values)) / len(values)

    pairs = [mean(each, lambda v: math.log1p(math.exp(20 * v)) / 20) for each in (own, cross)]
    slopes = [mean(each, lambda v: 1 / (1 + math.exp(-20 * v))) for each in (own, cross)]
    assert slopes[1] < 0.1 < slopes[0]  # the second is clamped
    expected = sum(slopes) / 2 * (pairs[0] / slopes[0] + pairs[1] / 0.1)
    assert float(mined_pairs(embedding, labels, is_photo, 0.2)) == pytest.approx(expected, abs=1e-12)
    unweighted = mined_pairs(embedding, labels, is_photo, 0.2, weighted=False)
    assert float(unweighted) == pytest.approx(sum(pairs), abs=1e-12)


def test_the_cross_pairs_mine_the_images_of_the_quadruplet(monkeypatch: pytest.MonkeyPatch) -> None:
    mined: list[tuple[Tensor, Tensor]] = []
    hardest = losses._hardest

    def record(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        mined.append(hardest(*arguments))
        return mined[-1]

    monkeypatch.setattr(losses, "_hardest", record)
    embedding, labels, is_photo = batch(5)
    balanced_quadruplet(embedding, labels, is_photo, MARGIN)
    mined_pairs(embedding, labels, is_photo, MARGIN)
    quadruplet, cross = mined[:2], mined[3:]
    assert len(mined) == 5
    for half, pair in zip(quadruplet, cross, strict=True):
        for cosine_distance, chord in zip(half, pair, strict=True):  # all distances differ, so a distance is an image
            torch.testing.assert_close(chord**2 / 2, cosine_distance)


def test_gradients_are_right() -> None:
    embedding, labels, is_photo = batch(1)
    embedding.requires_grad_()
    for weighted in (True, False):
        assert torch.autograd.gradcheck(
            lambda e, weighted=weighted: mined_pairs(e, labels, is_photo, MARGIN, weighted=weighted), [embedding]
        )


def test_a_batch_of_one_class_has_no_pair() -> None:
    embedding, labels, is_photo = batch()
    embedding.requires_grad_()
    loss = mined_pairs(embedding, torch.zeros_like(labels), is_photo, MARGIN)
    loss.backward()
    assert loss.item() == 0
