"""Losses against hand-worked numbers, plain double loops in float64, and numeric gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.methods.modules.losses import (
    balanced_quadruplet,
    cosine_target,
    cross_domain_triplet,
    distillation,
    mixed_triplet,
    normalised_softmax,
    preservation,
    supervised_contrastive,
)

MARGIN = 0.3


def batch(seed: int = 0, classes: int = 4, per_class: int = 2, dim: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(per_class).repeat(2)
    is_photo = torch.arange(len(labels)) >= len(labels) // 2
    return torch.randn(len(labels), dim, generator=random, dtype=torch.float64), labels, is_photo


def distance(a: Tensor, b: Tensor) -> float:
    return 1 - float(torch.dot(a / a.norm(), b / b.norm()))


def quadruplet_by_loops(embedding: Tensor, labels: Tensor, is_photo: Tensor, mining: str) -> float:
    anchors = []
    count = len(labels)
    for a in range(count):
        positives = [p for p in range(count) if labels[p] == labels[a] and is_photo[p] != is_photo[a]]
        own = [n for n in range(count) if labels[n] != labels[a] and is_photo[n] == is_photo[a]]
        other = [n for n in range(count) if labels[n] != labels[a] and is_photo[n] != is_photo[a]]
        halves = []
        for negatives in (own, other):
            hinges = [
                max(0.0, MARGIN + distance(embedding[a], embedding[p]) - distance(embedding[a], embedding[n]))
                for p in positives
                for n in negatives
            ]
            halves.append(max(hinges) if mining == "hard" else sum(hinges) / len(hinges))
        anchors.append(sum(halves) / 2)
    return sum(anchors) / len(anchors)


@pytest.mark.parametrize("mining", ["hard", "all"])
@pytest.mark.parametrize("seed", range(5))
def test_the_quadruplet_equals_plain_loops(mining: str, seed: int) -> None:
    embedding, labels, is_photo = batch(seed)
    loss = balanced_quadruplet(embedding, labels, is_photo, MARGIN, mining)
    assert float(loss) == pytest.approx(quadruplet_by_loops(embedding, labels, is_photo, mining), abs=1e-12)


def test_the_quadruplet_by_hand() -> None:
    # Unit vectors in the plane: sketch and photo of class 0 at 0 and 60 degrees, of class 1 at 90 and 180 degrees.
    angles = torch.tensor([0.0, 90.0, 60.0, 180.0], dtype=torch.float64) * math.pi / 180
    embedding = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels, is_photo = torch.tensor([0, 1, 0, 1]), torch.tensor([False, False, True, True])
    # d(0,60) = 1/2, d(0,90) = 1, d(0,180) = 2, d(90,180) = 1, d(90,60) = 1 - cos 30, d(60,180) = 3/2.
    d30 = 1 - math.sqrt(3) / 2
    anchors = [
        (max(0, 0.3 + 0.5 - 1) + max(0, 0.3 + 0.5 - 2)) / 2,  # sketch of class 0: both negatives are far enough
        (max(0, 0.3 + 1 - 1) + max(0, 0.3 + 1 - d30)) / 2,  # sketch of class 1
        (max(0, 0.3 + 0.5 - 1.5) + max(0, 0.3 + 0.5 - d30)) / 2,  # photo of class 0
        (max(0, 0.3 + 1 - 1.5) + max(0, 0.3 + 1 - 2)) / 2,  # photo of class 1
    ]
    assert float(balanced_quadruplet(embedding, labels, is_photo, 0.3)) == pytest.approx(sum(anchors) / 4, abs=1e-12)


def test_balanced_means_that_both_domains_give_negatives() -> None:
    # One class has a sketch and a photo (the anchors); a sketch and a photo of two other classes are negatives only,
    # and the photo lies nearer to both anchors: a miner of the mixed batch never picks the sketch.
    vectors = [[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.3, 1.0], [0.9, 0.4, 0.1]]
    embedding = torch.tensor(vectors, dtype=torch.float64, requires_grad=True)
    labels, is_photo = torch.tensor([0, 0, 1, 2]), torch.tensor([False, True, False, True])
    mixed = torch.autograd.grad(mixed_triplet(embedding, labels, 1.5), embedding)[0]
    balanced = torch.autograd.grad(balanced_quadruplet(embedding, labels, is_photo, 1.5), embedding)[0]
    sketch, photo = 2, 3
    assert mixed[sketch].norm() == 0
    assert mixed[photo].norm() > 0.1
    assert balanced[sketch].norm() > 0.05
    assert balanced[photo].norm() > 0.05


@pytest.mark.parametrize("mining", ["hard", "all"])
def test_the_mixed_triplet_equals_plain_loops(mining: str) -> None:
    embedding, labels, _ = batch(3)
    total = []
    for a in range(len(labels)):
        hinges = [
            max(0.0, MARGIN + distance(embedding[a], embedding[p]) - distance(embedding[a], embedding[n]))
            for p in range(len(labels))
            for n in range(len(labels))
            if p != a and labels[p] == labels[a] != labels[n]
        ]
        total.append(max(hinges) if mining == "hard" else sum(hinges) / len(hinges))
    loss = mixed_triplet(embedding, labels, MARGIN, mining)
    assert float(loss) == pytest.approx(sum(total) / len(total), abs=1e-12)


def test_an_anchor_counts_with_negatives_of_both_domains_or_not_at_all() -> None:
    # Class 0 has a sketch and a photo, class 1 a sketch alone: no anchor has a negative photo.
    embedding, _, _ = batch()
    labels, is_photo = torch.tensor([0, 0, 1]), torch.tensor([False, True, False])
    assert balanced_quadruplet(embedding[:3], labels, is_photo, 1.5).item() == 0
    # With a photo of class 2, the images of class 0 are anchors, and no other image has a positive.
    labels, is_photo = torch.tensor([0, 0, 1, 2]), torch.tensor([False, True, False, True])
    d = [[distance(one, other) for other in embedding[:4]] for one in embedding[:4]]
    hinges = [max(0.0, 1.5 + d[0][1] - d[a][n]) for a, n in ((0, 2), (0, 3), (1, 3), (1, 2))]
    expected = sum(hinges) / 4
    assert float(balanced_quadruplet(embedding[:4], labels, is_photo, 1.5)) == pytest.approx(expected, abs=1e-12)


def test_a_batch_of_one_class_has_no_quadruplet() -> None:
    embedding, _, is_photo = batch()
    embedding.requires_grad_()
    loss = balanced_quadruplet(embedding, torch.zeros(len(embedding), dtype=torch.int64), is_photo, MARGIN)
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad is not None


def test_the_normalised_softmax_by_hand() -> None:
    embedding = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    prototypes = torch.tensor([[5.0, 0.0], [0.0, 0.1]], dtype=torch.float64)
    # Cosines 0.6 and 0.8; times 16: 9.6 and 12.8.
    expected = -math.log(math.exp(9.6) / (math.exp(9.6) + math.exp(12.8)))
    assert float(normalised_softmax(embedding, prototypes, torch.tensor([0]), 16)) == pytest.approx(expected, abs=1e-12)


def test_preservation_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64))
    knowledge = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    assert float(preservation(logits, knowledge)) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4), abs=1e-12)


@pytest.mark.parametrize("mining", ["hard", "all"])
def test_the_cross_domain_triplet_equals_plain_loops(mining: str) -> None:
    embedding, labels, is_photo = batch(4)
    total = []
    for a in [a for a in range(len(labels)) if not is_photo[a]]:
        hinges = [
            max(0.0, MARGIN + distance(embedding[a], embedding[p]) - distance(embedding[a], embedding[n]))
            for p in range(len(labels))
            for n in range(len(labels))
            if is_photo[p] and is_photo[n] and labels[p] == labels[a] != labels[n]
        ]
        total.append(max(hinges) if mining == "hard" else sum(hinges) / len(hinges))
    loss = cross_domain_triplet(embedding, labels, is_photo, MARGIN, mining)
    assert float(loss) == pytest.approx(sum(total) / len(total), abs=1e-12)


def test_the_cross_domain_triplet_by_hand() -> None:
    # One sketch at 0 degrees, a photo of its class at 60 (d = 1/2), photos of another at 90 (1) and 180 (2); the sketch
    # of the other class, which lies nearest of all, is no negative.
    angles = torch.tensor([0.0, 10.0, 60.0, 90.0, 180.0], dtype=torch.float64) * math.pi / 180
    embedding = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels, is_photo = torch.tensor([0, 2, 0, 1, 1]), torch.tensor([False, False, True, True, True])
    # The sketch of class 2 has no photo of its class and is left out.
    assert float(cross_domain_triplet(embedding, labels, is_photo, 0.7)) == pytest.approx(0.7 + 0.5 - 1, abs=1e-12)
    every = cross_domain_triplet(embedding, labels, is_photo, 0.7, "all")
    assert float(every) == pytest.approx((0.2 + 0) / 2, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_contrastive_loss_equals_plain_loops(seed: int) -> None:
    embedding, labels, _ = batch(seed)
    labels[0] = 99  # an image whose class the batch holds once: others are contrasted with it, it has no positive
    unit, count = [each / each.norm() for each in embedding], len(labels)
    anchors = []
    for a in range(count):
        weight = {n: math.exp(float(torch.dot(unit[a], unit[n])) / 0.07) for n in range(count) if n != a}
        shares = [weight[p] / sum(weight.values()) for p in range(count) if p != a and labels[p] == labels[a]]
        if shares:
            anchors.append(-sum(math.log(share) for share in shares) / len(shares))
    assert len(anchors) == count - 1
    assert float(supervised_contrastive(embedding, labels, 0.07)) == pytest.approx(sum(anchors) / len(anchors))


def test_the_contrastive_loss_by_hand() -> None:
    # Two equal vectors of one class and one at a right angle to both: shares e / (e + 1) for the first two.
    embedding = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    loss = supervised_contrastive(embedding, torch.tensor([0, 0, 1]), 1.0)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-12)


def test_classes_that_a_batch_holds_once_have_nothing_to_be_near() -> None:
    embedding, _, _ = batch()
    embedding.requires_grad_()
    loss = supervised_contrastive(embedding, torch.arange(len(embedding)), 0.07)
    loss.backward()
    assert loss.item() == 0


def test_distillation_uses_photos_only() -> None:
    logits, _, is_photo = batch()
    drawn = torch.randn(len(logits), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    every = torch.softmax(drawn, 1)
    photos = [logits[n] for n in range(len(logits)) if is_photo[n]]
    teacher = [every[n] for n in range(len(logits)) if is_photo[n]]
    expected = 0.0
    for each, target in zip(photos, teacher, strict=True):
        total = sum(math.exp(value) for value in each.tolist())
        expected -= sum(t * math.log(math.exp(v) / total) for v, t in zip(each.tolist(), target.tolist(), strict=True))
    logits.requires_grad_()
    loss = distillation(logits, every, is_photo)
    loss.backward()
    assert loss.item() == pytest.approx(expected / len(photos), abs=1e-12)
    assert logits.grad is not None
    assert logits.grad[~is_photo].abs().max() == 0
    assert logits.grad[is_photo].abs().min() > 0


def test_distillation_of_a_batch_without_photos_is_nothing() -> None:
    logits = torch.ones(2, 3, requires_grad=True)
    loss = distillation(logits, torch.ones(2, 3), torch.tensor([False, False]))
    loss.backward()
    assert loss.item() == 0


def test_gradients_are_right() -> None:
    embedding, labels, is_photo = batch(1, classes=3)
    embedding.requires_grad_()
    prototypes = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    knowledge = torch.softmax(torch.randn(12, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), 1)
    for mining in ("hard", "all"):
        assert torch.autograd.gradcheck(
            lambda e, mining=mining: balanced_quadruplet(e, labels, is_photo, MARGIN, mining), [embedding]
        )
    assert torch.autograd.gradcheck(lambda e: mixed_triplet(e, labels, MARGIN), [embedding])
    assert torch.autograd.gradcheck(lambda e, p: normalised_softmax(e, p, labels, 16), [embedding, prototypes])
    assert torch.autograd.gradcheck(lambda e: preservation(e, knowledge), [embedding])
    for mining in ("hard", "all"):
        assert torch.autograd.gradcheck(
            lambda e, mining=mining: cross_domain_triplet(e, labels, is_photo, MARGIN, mining), [embedding]
        )
    assert torch.autograd.gradcheck(lambda e: supervised_contrastive(e, labels, 0.07), [embedding])
    assert torch.autograd.gradcheck(lambda e: distillation(e, knowledge, is_photo), [embedding])


@pytest.mark.parametrize("target", [-0.9, 0.9])
def test_the_cosine_target_equals_plain_loops(target: float) -> None:
    embedding, _, _ = batch(6)
    count = len(embedding)
    cosines = [1 - distance(embedding[a], embedding[b]) for a in range(count) for b in range(count) if a != b]
    expected = abs(sum(cosines) / len(cosines) - target)
    assert float(cosine_target(embedding, target)) == pytest.approx(expected, abs=1e-12)
    assert float(cosine_target(embedding[:1], target)) == 0
    assert torch.autograd.gradcheck(lambda e: cosine_target(e, target), [embedding.requires_grad_()])
