"""Map folder names to the canonical class names of a dataset.

The canonical spelling is that of the dataset's published class list (``cname_cid.txt``), which published labels,
hashes and archives use: ``hot-air_balloon`` in Sketchy, ``hot air balloon`` in TU-Berlin. Two spellings with the same
``key`` mean the same class, also across datasets.
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
    """The name without case, spaces, underscores, hyphens and parentheses.

    >>> key("Hot-Air_Balloon") == key("hot air balloon") == key("hotairballoon")
    True
    """
    return SEPARATORS.sub("", unicodedata.normalize("NFC", name).casefold())


def shared_classes(seen: Iterable[str], unseen: Iterable[str]) -> list[str]:
    """The unseen classes that were seen under any spelling of their name.

    Case and separators do not count, nor does a qualifier in brackets that only one of the names has.

    >>> shared_classes(["hot-air_balloon", "mouse", "crane (bird)"], ["Hot air balloon", "mouse (pet)", "crane (big)"])
    ['Hot air balloon', 'mouse (pet)']
    """
    seen = list(seen)
    known, short = {key(name) for name in seen}, {key(QUALIFIER.sub("", name)) for name in seen}

    def was_seen(name: str) -> bool:
        if QUALIFIER.search(name):
            return key(name) in known or key(QUALIFIER.sub("", name)) in known
        return key(name) in short

    return [name for name in unseen if was_seen(name)]


class ClassNames:
    """The canonical class names of a dataset and their other spellings.

    A spelling matches by its ``key``, by an entry of ``aliases`` (spelling to canonical name), or without the qualifier
    in parentheses if that is unique (``mouse`` for ``mouse (animal)``). Raises ValueError if two canonical names share
    a key.
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
        """The canonical name of a spelling; None if it is no class of this dataset."""
        return self._by_key.get(key(spelling))

    def folders(self, found: Iterable[str], where: str) -> dict[str, str]:
        """Map canonical names to the ``found`` folder names; other folders are skipped.

        Raises DataError, with the parent folder ``where``, if two folders spell the same class.
        """
        chosen: dict[str, str] = {}
        for folder in sorted(found):
            name = self.find(folder)
            if name is None:
                continue
            if name in chosen:
                raise DataError(
                    f"Folders {chosen[name]!r} and {folder!r} in {where} are both class {name!r}: "
                    "merge them or remove one."
                )
            chosen[name] = folder
        return chosen
