"""First values of new layers: a function of the seed and the layer's name alone."""

from __future__ import annotations

import torch

from bench.methods.modules import heads


def test_a_head_draws_for_itself() -> None:
    torch.manual_seed(5)
    alone = heads.semantic_head(8).weight
    torch.manual_seed(5)
    heads.prototypes(3, 8)
    after_another = heads.semantic_head(8).weight
    assert torch.equal(alone, after_another)
    torch.manual_seed(6)
    assert not torch.equal(alone, heads.semantic_head(8).weight)


def test_what_is_drawn_around_a_head_does_not_change() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    heads.class_head(8, 3)
    assert torch.equal(torch.rand(4), expected)


def test_two_names_are_two_draws() -> None:
    torch.manual_seed(5)
    with heads.seeded("one"):
        one = torch.rand(4)
    with heads.seeded("other"):
        other = torch.rand(4)
    assert not torch.equal(one, other)


def test_prototypes_have_length_about_one() -> None:
    torch.manual_seed(0)
    lengths = heads.prototypes(200, 256).norm(dim=1)
    assert 0.8 < lengths.min() < 1 < lengths.max() < 1.2
