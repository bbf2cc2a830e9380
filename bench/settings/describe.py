"""What every setting means, for those who choose it: default, values, and the comment that its declaration carries."""

from __future__ import annotations

import inspect
import io
import tokenize
import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from bench.settings.run_settings import RANGE


@dataclass(frozen=True)
class Explained:
    """One setting: ``takes`` says its values in words, ``meaning`` is empty where its declaration has no comment."""

    name: str
    default: str
    takes: str
    meaning: str


def explained(settings: Any) -> list[Explained]:
    """Every setting of a frozen dataclass, with the values of this instance for defaults, in the order declared."""
    comments = _comments(type(settings))
    hints = typing.get_type_hints(type(settings))
    return [
        Explained(
            name=each.name,
            default=_text(getattr(settings, each.name)),
            takes=_takes(hints[each.name], each.metadata.get(RANGE)),
            meaning=comments.get(each.name, ""),
        )
        for each in fields(settings)
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _takes(kind: Any, limits: object) -> str:
    if typing.get_origin(kind) is Literal:
        return ", ".join(str(each) for each in typing.get_args(kind))
    if kind is bool:
        return "true, false"
    words = {int: "whole number", float: "number", str: "text"}
    word = " or ".join(words.get(each, "none") for each in typing.get_args(kind) or (kind,))
    return f"{word}, {limits}" if limits is not None else word


def _comments(kind: type) -> dict[str, str]:
    """The comment behind each field, or in the lines right above it, of a class and those that it stems from."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        names = set(vars(each).get("__annotations__", {}))
        try:
            lines = inspect.getsource(each).splitlines()
        except (OSError, TypeError):  # made by a program
            continue
        found |= _comments_in(lines, names)
    for name in (each.name for each in fields(kind)):
        if name.startswith("weight_"):
            found.setdefault(name, f"factor of the loss term {name.removeprefix('weight_')}; 0: it is not computed")
    return found


def _comments_in(lines: Sequence[str], names: set[str]) -> dict[str, str]:
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, colon, _ = line.strip().partition(":")
        if not colon or name not in names:
            continue
        above: list[str] = []
        before = number - 1
        while before in comments and lines[before - 1].lstrip().startswith("#"):
            above.insert(0, comments[before])
            before -= 1
        said = " ".join([*above, *([comments[number]] if number in comments else [])])
        if said:
            found[name] = said
    return found
