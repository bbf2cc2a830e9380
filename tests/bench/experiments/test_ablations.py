"""The requests of an ablation, by hand."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.experiments.ablations import FULL, Ablation, ablations
from bench.methods.base import METHODS

Q, C, P = "quadruplet", "classification", "preservation"


def test_each_loss_left_out_in_turn_after_the_full_method() -> None:
    assert ablations("ours") == [FULL, Ablation((Q,)), Ablation((C,)), Ablation((P,))]


def test_named_losses_only() -> None:
    assert ablations("ours", without=[P]) == [FULL, Ablation((P,))]


def test_all_subsets_keep_at_least_one_loss_and_come_once() -> None:
    found = ablations("ours", all_subsets=True)
    assert found == [FULL, *(Ablation(left_out) for left_out in ((Q,), (C,), (P,), (Q, C), (Q, P), (C, P)))]
    assert len({frozenset(each.without) for each in found}) == 7


def test_structural_ablations_alone_or_with_losses() -> None:
    structural = [Ablation(structural=name) for name in METHODS.get("ours").structural]
    assert ablations("ours", structural=True) == [FULL, *structural]
    assert ablations("ours", without=[Q], structural=True) == [FULL, Ablation((Q,)), *structural]
    assert len(ablations("ours", all_subsets=True, structural=True)) == 7 + len(structural)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("ours", {"without": ["quadruple"]}, "has no loss term 'quadruple'. Did you mean 'quadruplet'?"),
        ("imagenet", {}, "has fewer than two loss terms by default, so there is nothing to ablate"),
        ("softmax", {}, "has fewer than two loss terms"),
        ("imagenet", {"structural": True}, "has no structural ablations: leave --structural out"),
        ("our", {}, "There is no method 'our'. Did you mean 'ours'?"),
    ],
)
def test_mistakes(method: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ablations(method, **options)  # type: ignore[arg-type]
    assert message in str(caught.value)
