"""The zero-shot split: which classes are seen and which unseen, drawn from the class list alone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

UNSEEN_FRACTION = 0.23
SALT = "emoji-zs-v1"
SMALLEST_STRATUM = 4  # subgroups with fewer classes are pooled within their group

SPLIT_HEADER = ("class", "split", "stratum")


@dataclass(frozen=True)
class Class:
    """A class with its Unicode group and subgroup."""

    name: str
    group: str
    subgroup: str


def strata(classes: Sequence[Class]) -> dict[tuple[str, str], list[str]]:
    """The classes by Unicode subgroup, so that an unseen class has seen relatives."""
    by_subgroup: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in classes:
        by_subgroup[each.group, each.subgroup].append(each.name)
    pooled: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (group, subgroup), names in by_subgroup.items():
        pooled[group, subgroup if len(names) >= SMALLEST_STRATUM else "small"] += names
    return dict(pooled)


def salted_hash(name: str) -> str:
    """Orders classes without a random generator: the same on every machine and version."""
    return hashlib.sha1((SALT + name).encode(), usedforsecurity=False).hexdigest()


def draw_split(classes: Sequence[Class]) -> list[list[str]]:
    """The lines of split.csv, in the order of the classes.

    In each stratum the first classes by salted hash are unseen, at most half of them. The rounding remainder is carried
    to the next stratum.
    """
    unseen: set[str] = set()
    stratum_of: dict[str, str] = {}
    carried = 0.0
    for key, names in sorted(strata(classes).items()):
        wanted = len(names) * UNSEEN_FRACTION + carried
        count = min(int(wanted + 0.5), len(names) // 2)
        carried = wanted - count
        unseen.update(sorted(names, key=salted_hash)[:count])
        stratum_of.update(dict.fromkeys(names, "/".join(key)))
    return [[each.name, "unseen" if each.name in unseen else "seen", stratum_of[each.name]] for each in classes]
