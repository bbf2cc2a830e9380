"""One class, many spellings: how the folder names in circulation map to the canonical class names of a dataset.

The canonical spelling is that of the dataset's published class list (``cname_cid.txt``), so that class names, integer
labels, published hashes and folder names of the published archives agree: ``hot-air_balloon`` in Sketchy, ``hot air
balloon`` in TU-Berlin. Two spellings mean one class when their ``key`` is the same, also across datasets.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property

from bench.errors import DataError

SEPARATORS = re.compile(r"[\s_\-()]+")
QUALIFIER = re.compile(r"\(.*\)")


def key(name: str) -> str:
    """What all spellings of a class have in common: no case, spaces, underscores, hyphens or parentheses.

    >>> key("Hot-Air_Balloon") == key("hot air balloon") == key("hotairballoon")
    True
    """
    return SEPARATORS.sub("", unicodedata.normalize("NFC", name).casefold())


class ClassNames:
    """The canonical names of a dataset and what else they are called.

    A spelling is recognised by its ``key``, by the key without the qualifier in parentheses (``mouse`` for ``mouse
    (animal)``) where that is no other class, or because ``aliases`` (spelling to canonical name) lists it.
    Raises ValueError when two canonical names share a key: the declaration is wrong.
    """

    def __init__(self, canonical: Iterable[str], aliases: Mapping[str, str] | None = None) -> None:
        self.canonical = tuple(canonical)
        self.aliases = dict(aliases or {})

    @cached_property
    def _by_key(self) -> dict[str, str]:
        known: dict[str, str] = {}
        for name in self.canonical:
            if known.setdefault(key(name), name) != name:
                raise ValueError(f"classes {known[key(name)]!r} and {name!r} are spellings of one name")
        for spelling, name in self.aliases.items():
            known.setdefault(key(spelling), name)
        short = [(key(QUALIFIER.sub("", name)), name) for name in self.canonical if QUALIFIER.search(name)]
        for spelling, name in short:
            if sum(each == spelling for each, _ in short) == 1:
                known.setdefault(spelling, name)
        return known

    def find(self, spelling: str) -> str | None:
        """The canonical name of a spelling, None when it is no class of this dataset."""
        return self._by_key.get(key(spelling))

    def folders(self, found: Iterable[str], where: str) -> dict[str, str]:
        """Canonical name to folder name for those of the ``found`` folder names that are classes.

        Raises DataError when two folders spell one class (also by case alone): which of them is meant cannot be told.
        ``where`` names the parent folder in that message.
        """
        chosen: dict[str, str] = {}
        for folder in sorted(found):
            name = self.find(folder)
            if name is None:
                continue
            if name in chosen:
                raise DataError(
                    f"Folders {chosen[name]!r} and {folder!r} in {where} are both class {name!r}: "
                    "merge them or take one away."
                )
            chosen[name] = folder
        return chosen
