"""Losses in batches of unequal domains: the one-hinge quadruplet, and the anchors that are left out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.methods.modules.losses import (
    anchors_left_out,
    balanced_quadruplet,
    collapsed_pairs,
    cross_domain_triplet,
    mined_pairs,
    mixed_triplet,
    one_hinge_quadruplet,
)

MARGIN = 0.3


def batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Five classes: two with a sketch among three photos, one of photos, one of sketches, and a single photo."""
    labels = torch.tensor([0, 1, 3, 3, 0, 0, 0, 1, 1, 2, 2, 4])
    random = torch.Generator().manual_seed(seed)
    return torch.randn(12, 6, generator=random, dtype=torch.float64), labels, torch.arange(12) >= 4


def distances(embedding: Tensor) -> list[list[float]]:
    unit = [each / each.norm() for each in embedding]
    return [[1 - float(torch.dot(one, other)) for other in unit] for one in unit]


def one_hinge_by_loops(embedding: Tensor, labels: Tensor, is_photo: Tensor, mining: str) -> float:
    d, count, anchors = distances(embedding), len(labels), []
    for a in range(count):
        positives = [n for n in range(count) if labels[n] == labels[a] and is_photo[n] != is_photo[a]]
        own = [n for n in range(count) if labels[n] != labels[a] and is_photo[n] == is_photo[a]]
        other = [n for n in range(count) if labels[n] != labels[a] and is_photo[n] != is_photo[a]]
        hinges = [max(0.0, MARGIN + d[a][p] - (d[a][n] + d[a][m]) / 2) for p in positives for n in own for m in other]
        if hinges:
            anchors.append(max(hinges) if mining == "hard" else sum(hinges) / len(hinges))
    return sum(anchors) / len(anchors)


@pytest.mark.parametrize("mining", ["hard", "all"])
@pytest.mark.parametrize("seed", range(3))
def test_one_hinge_equals_plain_loops(mining: str, seed: int) -> None:
    embedding, labels, is_photo = batch(seed)
    loss = one_hinge_quadruplet(embedding, labels, is_photo, MARGIN, mining)
    assert float(loss) == pytest.approx(one_hinge_by_loops(embedding, labels, is_photo, mining), abs=1e-12)


def test_one_hinge_by_hand() -> None:
    # Sketch and photo of class 0 at 0 and 60 degrees, of class 1 at 90 and 180 degrees.
    angles = torch.tensor([0.0, 90.0, 60.0, 180.0], dtype=torch.float64) * math.pi / 180
    embedding = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels, is_photo, d30 = torch.tensor([0, 1, 0, 1]), torch.tensor([False, False, True, True]), 1 - math.sqrt(3) / 2
    anchors = [
        max(0, 0.3 + 0.5 - (1 + 2) / 2),  # sketch of class 0
        max(0, 0.3 + 1 - (1 + d30) / 2),  # sketch of class 1
        max(0, 0.3 + 0.5 - (1.5 + d30) / 2),  # photo of class 0: the far negative makes up for the near one
        max(0, 0.3 + 1 - (1.5 + 2) / 2),  # photo of class 1
    ]
    assert anchors[1] > 0
    assert float(one_hinge_quadruplet(embedding, labels, is_photo, 0.3)) == pytest.approx(sum(anchors) / 4, abs=1e-12)
    assert float(balanced_quadruplet(embedding, labels, is_photo, 0.3)) > sum(anchors) / 4


def test_gradients_of_one_hinge_are_right() -> None:
    embedding, labels, is_photo = batch(1)
    embedding.requires_grad_()
    for mining in ("hard", "semi-hard", "all"):
        assert torch.autograd.gradcheck(
            lambda e, mining=mining: one_hinge_quadruplet(e, labels, is_photo, MARGIN, mining), [embedding]
        )


def test_a_batch_without_a_quadruplet_has_loss_0() -> None:
    embedding, labels, _ = batch(0)
    embedding.requires_grad_()
    loss = one_hinge_quadruplet(embedding, labels, torch.ones(12, dtype=torch.bool), MARGIN)
    loss.backward()
    assert loss.item() == 0


def test_anchors_that_are_left_out_by_hand() -> None:
    _, labels, is_photo = batch(0)
    # Only classes 0 and 1 have both domains: two sketches and five photos of twelve images are anchors.
    assert anchors_left_out(labels, is_photo, "quadruplet") == 5
    assert anchors_left_out(labels, is_photo, "cross-domain") == 2  # the sketches of class 3
    assert anchors_left_out(labels, is_photo, "mixed") == 1  # the only image of class 4
    assert anchors_left_out(labels, is_photo, "mathm") == 1
    assert anchors_left_out(labels, is_photo, "contrastive") == 1
    assert anchors_left_out(labels * 0, is_photo, "contrastive") == 0  # without any negative
    assert anchors_left_out(labels * 0, is_photo, "mixed") == 12
    # One sketch: it lacks a negative sketch, as do the photos of its class; the other photos lack a positive sketch.
    labels, is_photo = torch.tensor([0, 0, 0, 1, 1]), torch.arange(5) >= 1
    assert anchors_left_out(labels, is_photo, "quadruplet") == 5
    assert anchors_left_out(labels, is_photo, "cross-domain") == 0
    assert anchors_left_out(labels, is_photo, "mathm") == 0


@pytest.mark.parametrize("seed", range(3))
def test_only_counted_anchors_pull(seed: int) -> None:
    """With a huge margin every anchor pulls: the losses are means over the images that are not left out."""
    embedding, labels, is_photo = batch(seed)
    d, margin, every = distances(embedding), 100.0, range(12)
    for pairs, loss in (
        ("mixed", mixed_triplet(embedding, labels, margin)),
        ("cross-domain", cross_domain_triplet(embedding, labels, is_photo, margin)),
        ("quadruplet", balanced_quadruplet(embedding, labels, is_photo, margin)),
    ):
        values = []
        for a in every:
            same = [d[a][n] for n in every if n != a and labels[n] == labels[a]]
            across = [d[a][n] for n in every if labels[n] == labels[a] and is_photo[n] != is_photo[a]]
            near = [d[a][n] for n in every if labels[n] != labels[a] and is_photo[n] == is_photo[a]]
            far = [d[a][n] for n in every if labels[n] != labels[a] and is_photo[n] != is_photo[a]]
            if pairs == "mixed" and same:
                values.append(margin + max(same) - min(near + far))
            if pairs == "cross-domain" and across and not is_photo[a]:
                values.append(margin + max(across) - min(far))
            if pairs == "quadruplet" and across:
                values.append(margin + max(across) - (min(near) + min(far)) / 2)
        anchors = 4 if pairs == "cross-domain" else 12
        assert len(values) == anchors - int(anchors_left_out(labels, is_photo, pairs))
        assert float(loss) == pytest.approx(sum(values) / len(values), abs=1e-12)


def test_pairs_of_mathm_use_what_a_class_has() -> None:
    embedding, labels, is_photo = batch(0)
    photos = torch.tensor([9, 10, 11, 2])  # a class of photos, a single photo, a single sketch: own-domain pairs only
    embedding.requires_grad_()
    loss = mined_pairs(embedding[photos], labels[photos], is_photo[photos], MARGIN)
    loss.backward()
    assert loss.item() > 0
    assert embedding.grad is not None
    assert embedding.grad[2].abs().max() == 0  # the sketch is in no pair


def test_the_pairs_of_equal_embeddings() -> None:
    embedding, labels, is_photo = batch(0)
    equal = torch.ones_like(embedding)
    for weighted in (True, False):
        loss = mined_pairs(equal, labels, is_photo, 0.2, weighted=weighted)
        assert float(loss) == pytest.approx(collapsed_pairs(0.2), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_semi_hard_negatives_are_farther_than_the_positive(seed: int) -> None:
    embedding, labels, is_photo = batch(seed)
    d, every, anchors = distances(embedding), range(12), []
    for a in every:
        hinges = []
        for p in (n for n in every if n != a and labels[n] == labels[a]):
            negatives = [d[a][n] for n in every if labels[n] != labels[a]]
            farther = [each for each in negatives if each > d[a][p]]
            hinges.append(max(0.0, MARGIN + d[a][p] - (min(farther) if farther else max(negatives))))
        if hinges:
            anchors.append(sum(hinges) / len(hinges))
    loss = mixed_triplet(embedding, labels, MARGIN, "semi-hard")
    assert float(loss) == pytest.approx(sum(anchors) / len(anchors), abs=1e-12)
    embedding.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda e: cross_domain_triplet(e, labels, is_photo, MARGIN, "semi-hard"), [embedding]
    )


@pytest.mark.parametrize("seed", range(3))
def test_semi_hard_quadruplets_equal_plain_loops(seed: int) -> None:
    embedding, labels, is_photo = batch(seed)
    d, every = distances(embedding), range(12)

    def chosen(a: int, p: int, same_domain: bool) -> float:
        found = [d[a][n] for n in every if labels[n] != labels[a] and (is_photo[n] == is_photo[a]) == same_domain]
        return min([each for each in found if each > d[a][p]] or [max(found)])

    two, one = [], []
    for a in every:
        positives = [p for p in every if labels[p] == labels[a] and is_photo[p] != is_photo[a]]
        if positives:
            pairs = [(d[a][p], chosen(a, p, True), chosen(a, p, False)) for p in positives]
            two.append(sum(max(0.0, MARGIN + p - n) / 2 for p, *both in pairs for n in both) / len(pairs))
            one.append(sum(max(0.0, MARGIN + p - (near + far) / 2) for p, near, far in pairs) / len(pairs))
    batches = embedding, labels, is_photo, MARGIN, "semi-hard"
    assert float(balanced_quadruplet(*batches)) == pytest.approx(sum(two) / len(two), abs=1e-12)
    assert float(one_hinge_quadruplet(*batches)) == pytest.approx(sum(one) / len(one), abs=1e-12)
