"""Help for settings: default, values and meaning of each, for ``bench list settings`` and the manual."""

from __future__ import annotations

import typing
from dataclasses import dataclass, fields
from typing import Any, Literal

from bench.registry import Registry
from bench.settings.request import in_text


@dataclass(frozen=True)
class Description:
    """One setting: ``takes`` describes its values, ``meaning`` is empty if the field has no help."""

    name: str
    default: str
    takes: str
    meaning: str


def describe(settings: Any) -> list[Description]:
    """Every setting of a frozen dataclass in order; the values of this instance are the defaults."""
    hints = typing.get_type_hints(type(settings))
    return [
        Description(
            name=each.name,
            default=in_text(getattr(settings, each.name)),
            takes=_values(hints[each.name], each.metadata.get("range"), each.metadata.get("names")),
            meaning=each.metadata.get("help", _weight(each.name)),
        )
        for each in fields(settings)
    ]


def _values(kind: Any, limits: object, registry: Registry[Any] | None) -> str:
    if registry is not None:
        return ", ".join(registry.names())
    if typing.get_origin(kind) is Literal:
        return ", ".join(str(each) for each in typing.get_args(kind))
    words = {bool: "true, false", int: "whole number", float: "number", str: "text"}
    word = " or ".join(words.get(each, "none") for each in typing.get_args(kind) or (kind,))
    return f"{word}, {limits}" if limits is not None else word


def _weight(name: str) -> str:
    term = name.removeprefix("weight_")
    return "" if term == name else f"weight of the loss term {term}; 0 leaves it out"
