"""Flips and affine maps of a batch."""

from __future__ import annotations

import torch

from bench.datasets.images.augmentation import Augmentation

STILL = Augmentation(rotation=0, scale=0, shift=0, mirror=False)


def batch(count: int = 8) -> torch.Tensor:
    return torch.rand((count, 3, 12, 12), generator=torch.Generator().manual_seed(1))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_movement_an_image_is_itself() -> None:
    torch.testing.assert_close(STILL(batch(), draws()), batch(), atol=1e-5, rtol=0)


def test_a_flip_mirrors_some_images_and_leaves_the_others() -> None:
    images = batch(32)
    found = Augmentation(rotation=0, scale=0, shift=0, mirror=True)(images, draws())
    mirrored = torch.tensor([torch.allclose(a, b.flip(-1), atol=1e-5) for a, b in zip(found, images, strict=True)])
    still = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(found, images, strict=True)])
    assert torch.equal(mirrored, ~still)
    assert 4 < int(mirrored.sum()) < 28


def test_a_shift_repeats_the_border() -> None:
    image = torch.ones(1, 3, 10, 10)
    image[:, :, 4:6, 4:6] = 0
    found = torch.cat(
        [Augmentation(rotation=0, scale=0, shift=0.3, mirror=False)(image, draws(seed)) for seed in range(20)]
    )
    corners = found[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.ones_like(corners))
    torch.testing.assert_close((1 - found).sum(dim=(1, 2, 3)), torch.full((20,), 12.0), atol=1e-3, rtol=0)
    assert len({tuple(each.flatten().tolist()) for each in found}) == 20


def test_draws_are_of_the_generator_alone_and_differ_between_images() -> None:
    images = batch(1).repeat(4, 1, 1, 1)
    found = Augmentation()(images, draws(5))
    assert torch.equal(found, Augmentation()(images, draws(5)))
    assert not torch.equal(found, Augmentation()(images, draws(6)))
    assert not torch.equal(found[0], found[1])
    assert found.shape == images.shape


def test_colours_are_lost_by_chance_and_drawing_costs_nothing_when_they_cannot_be() -> None:
    images = torch.rand(200, 3, 4, 4, generator=draws())
    found = Augmentation(rotation=0, scale=0, shift=0, mirror=False, grayscale=0.25)(images, draws(1))
    grey = (found[:, :1] == found).all(dim=(1, 2, 3))
    assert 30 <= int(grey.sum()) <= 70
    assert torch.allclose(found[grey][:, 0], images[grey].mean(dim=1), atol=1e-5)
    assert torch.allclose(found[~grey], images[~grey], atol=1e-5)
    with_chance, without = draws(2), draws(2)
    Augmentation(grayscale=1.0)(images, with_chance)
    Augmentation(grayscale=0.0)(images, without)
    assert torch.rand(1, generator=with_chance) != torch.rand(1, generator=without)
