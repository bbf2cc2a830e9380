"""Makes the classes of the dataset from Unicode emoji, classes.toml and fxemoji_names.toml."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import DataError

HERE = Path(__file__).parent
VARIATION_SELECTOR = 0xFE0F  # asks for the colour form of a character and draws nothing itself


@dataclass(frozen=True)
class Emoji:
    """One emoji of Unicode; `code` is hexadecimal, several code points joined by hyphens."""

    annotation: str
    code: str
    group: str
    subgroup: str

    @property
    def code_points(self) -> tuple[int, ...]:
        """All code points of the sequence."""
        return tuple(int(part, 16) for part in self.code.split("-"))

    @property
    def drawn_code_points(self) -> tuple[int, ...]:
        """The code points that stand for something visible."""
        return tuple(point for point in self.code_points if point != VARIATION_SELECTOR)


@dataclass(frozen=True)
class Candidate:
    """A class before its drawings are counted; group and subgroup are those of its first emoji in Unicode's order."""

    class_name: str
    emoji: tuple[Emoji, ...]
    group: str
    subgroup: str

    @property
    def code_points(self) -> str:
        """The code points of all its emoji, as classes.csv writes them."""
        return " ".join("U+" + each.code.replace("-", "_") for each in self.emoji)


@dataclass(frozen=True)
class Definitions:
    """The content of the two TOML files; `class_of` and `members` are the two directions of `merged`."""

    groups: tuple[str, ...]
    sparse_subgroups: frozenset[str]
    kept: frozenset[str]
    left_out: frozenset[str]
    members: Mapping[str, tuple[str, ...]]
    class_of: Mapping[str, str]
    renamed: Mapping[str, str]
    wrong_drawings: frozenset[str]
    not_by_name: Mapping[str, frozenset[str]]
    fxemoji_names: Mapping[str, str]

    def annotations(self) -> set[str]:
        """Every annotation that is named anywhere."""
        return {*self.kept, *self.left_out, *self.class_of, *self.renamed, *self.not_by_name, *self.fxemoji_names}

    def uses(self, emoji: Emoji) -> bool:
        """Whether this emoji is or joins a class."""
        if emoji.annotation in self.left_out:
            return False
        wanted = emoji.annotation in self.kept or emoji.annotation in self.class_of
        return wanted or emoji.subgroup not in self.sparse_subgroups


def slug(name: str) -> str:
    """The name of a class as a folder.

    >>> slug("T-Shirt"), slug("piñata"), slug("ice cream")
    ('t-shirt', 'pinata', 'ice-cream')
    """
    plain = name.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "").replace("ñ", "n")
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")


def load_definitions() -> Definitions:
    """Reads the two TOML files beside this module."""
    data: dict[str, Any] = tomllib.loads((HERE / "classes.toml").read_text(encoding="utf-8"))
    names: dict[str, str] = tomllib.loads((HERE / "fxemoji_names.toml").read_text(encoding="utf-8"))
    members = {name: tuple(annotations) for name, annotations in data["merged"].items()}
    return Definitions(
        groups=tuple(data["groups"]),
        sparse_subgroups=frozenset(data["sparse_subgroups"]),
        kept=frozenset(data["kept"]),
        left_out=frozenset(annotation for part in data["left_out"].values() for annotation in part),
        members=members,
        class_of={annotation: name for name, annotations in members.items() for annotation in annotations},
        renamed=data["renamed"],
        wrong_drawings=frozenset(data["wrong_drawings"]),
        not_by_name={annotation: frozenset(sources) for annotation, sources in data["not_by_name"].items()},
        fxemoji_names=names,
    )


def read_emoji(path: Path, groups: Iterable[str]) -> list[Emoji]:
    """The emoji of these groups in Unicode's order, without the variants in skin colour."""
    wanted = set(groups)
    return [
        Emoji(entry["annotation"], entry["hexcode"], entry["group"], entry["subgroups"])
        for entry in json.loads(path.read_text(encoding="utf-8"))
        if entry["group"] in wanted and not entry["skintone"]
    ]


def candidates(emoji: Iterable[Emoji], definitions: Definitions) -> list[Candidate]:
    """The classes that the definitions make of the emoji, in the order of their first emoji."""
    by_annotation = {each.annotation: each for each in emoji}
    unknown = sorted(definitions.annotations() - set(by_annotation))
    if unknown:
        raise DataError(f"No emoji is called {unknown[0]!r}: correct the name in tools/emoji/*.toml.")
    classes: dict[str, Candidate] = {}
    for first in by_annotation.values():
        if not definitions.uses(first):
            continue
        merged_into = definitions.class_of.get(first.annotation)
        name = merged_into or definitions.renamed.get(first.annotation) or first.annotation
        folder = slug(name)
        if folder not in classes:
            members = tuple(by_annotation[each] for each in definitions.members.get(name, (first.annotation,)))
            classes[folder] = Candidate(folder, members, first.group, first.subgroup)
        elif merged_into is None:
            raise DataError(f"Two classes are called {folder!r}: merge or rename {first.annotation!r} in classes.toml.")
    return list(classes.values())
