"""A published split as a run asks for it: fewer images, a larger gallery, seen classes held out. Needs no torch."""

from __future__ import annotations

from bench.settings.selection_rules import selection
from bench.types import Split

VALIDATION = 0.1  # part of the seen classes that is held out when an epoch is chosen by them


def shaped(split: Split, *, per_class_limit: int | None, gallery: str, rule: str) -> Split:
    """``split`` with at most ``per_class_limit`` images of each class and modality, its gallery, and room for a rule.

    ``gallery`` is "unseen" or "all"; ``rule`` names the selection rule. Raises UsageError for an unknown rule,
    DataError when the split has too few seen classes to hold some out.
    """
    if per_class_limit is not None:
        split = split.limited(per_class_limit)
    if gallery == "all":
        split = split.generalized()
    if selection(rule).needs == "validation classes":
        split = split.hold_out_classes(VALIDATION)
    return split
