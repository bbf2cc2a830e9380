"""The ablations of a method: loss terms that are left out, and structural changes by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.errors import UsageError, nearest
from bench.methods.base import METHODS


@dataclass(frozen=True)
class Ablation:
    """One row of an ablation table: the loss terms that it leaves out, or a structural ablation by name."""

    without: tuple[str, ...] = ()
    structural: str = ""


FULL = Ablation()


def ablations(
    method: str, *, without: Sequence[str] = (), all_subsets: bool = False, structural: bool = False
) -> list[Ablation]:
    """The full method, then its ablations: by default each loss term left out in turn.

    ``without`` leaves out these terms only, one a row. ``all_subsets`` keeps every non-empty choice of terms.
    ``structural`` adds those that the method declares. Raises UsageError for a term or ablation that it does not have.
    """
    kind = METHODS.get(method)
    for term in without:
        if term not in kind.terms:
            raise UsageError(f"Method {method!r} has no loss term {term!r}. {nearest(term, kind.terms)}")
    if structural and not kind.structural:
        raise UsageError(f"Method {method!r} has no structural ablations: leave --structural out.")
    found = [FULL]
    if all_subsets:
        found += [Ablation(left_out) for left_out in _subsets(kind.terms)]
    elif without or not structural:
        found += [Ablation((term,)) for term in without or (kind.terms if len(kind.terms) > 1 else ())]
    if structural:
        found += [Ablation(structural=name) for name in kind.structural]
    if len(found) == 1:
        raise UsageError(f"Method {method!r} has fewer than two loss terms, so there is nothing to ablate.")
    return found


def _subsets(terms: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """Terms to leave out so that every non-empty subset except the whole is kept once, smallest first."""
    for count in range(1, len(terms)):
        yield from combinations(terms, count)
