"""The ablations of a method: it leaves out loss terms, or changes its structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.errors import UsageError, check_known
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
    """The full method, then its ablations; by default each leaves out one loss term.

    ``without`` leaves out only these terms, one per row. ``all_subsets`` keeps every non-empty subset of the terms.
    ``structural`` adds the structural ablations. Raises UsageError for an unknown term, or if there is no ablation.
    """
    kind = METHODS.get(method)
    for term in without:
        check_known(f"Method {method!r} has no loss term", term, kind.terms)
    if structural and not kind.structural:
        raise UsageError(f"Method {method!r} has no structural ablations: leave --structural out.")
    rows, usual = [FULL], kind.default_terms()
    if all_subsets:
        sizes = range(1, len(usual))
        rows += [Ablation(terms) for size in sizes for terms in combinations(usual, size)]
    elif without or not structural:
        rows += [Ablation((term,)) for term in without or (usual if len(usual) > 1 else ())]
    if structural:
        rows += [Ablation(structural=name) for name in kind.structural]
    if len(rows) == 1:
        raise UsageError(f"Method {method!r} has fewer than two loss terms by default, so there is nothing to ablate.")
    return rows
