"""Settings of a run: every one with its default and unit, and how text from the command line becomes one."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from bench.errors import UsageError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class RunSettings:
    """What every trained method shares; a dataset's recipe changes defaults, options and ``--set`` change both."""

    image_size: int = 224  # side of the square that a network sees, pixels
    backbone: str = "resnet50"  # name of a timm network
    weights: str = ""  # file of backbone weights; empty: ImageNet's, "none": random
    epochs: float = 10.0  # passes over the training images; a part of one is allowed
    batch_size: int = 96  # images, half of them sketches
    per_class: int = 2  # sketches, and as many photos, of each class in a batch
    optimiser: str = "adam"  # adam | adamw
    lr: float = 1e-4  # learning rate of the backbone at its highest
    head_lr: float = 1e-3  # learning rate of new layers at its highest
    weight_decay: float = 5e-4
    schedule: str = "exponential"  # exponential (to 1/1000) | one-cycle (linear warm-up, cosine to 0) | constant
    warmup: float = 0.2  # part of a one-cycle schedule that warms up, 0..1
    frozen_blocks: int = 0  # the stem and so many blocks of the backbone keep their weights; -1: nothing is frozen
    frozen_batchnorm: bool = True  # the backbone's BatchNorm keeps its ImageNet statistics
    rotation: float = 20.0  # augmentation: degrees to either side
    scaling: float = 0.2  # augmentation: relative size to either side
    shift: float = 0.1  # augmentation: part of the side, to either side
    mirror: bool = True  # augmentation: left-right flips
    grayscale: float = 0.0  # augmentation: probability that an image loses its colours


def assign(settings: Sequence[Any], assignments: Sequence[str]) -> list[Any]:
    """Copies of the ``settings`` (frozen dataclasses) with each ``key=value`` text put where the key belongs.

    A value is converted by the type of its field. Raises UsageError for a text without ``=``, an unknown key (with
    the nearest one) and a value that does not convert.
    """
    changed = list(settings)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, not {assignment!r}.")
        owners = [position for position, each in enumerate(changed) if key in names(each)]
        if not owners:
            known = [name for each in changed for name in names(each)]
            raise UsageError(f"There is no setting {key!r} here. {nearest(key, known)}")
        for position in owners:
            value = convert(key, text.strip(), typing.get_type_hints(type(changed[position]))[key])
            changed[position] = replace(changed[position], **{key: value})
    return changed


def with_recipe(settings: T, recipe: Mapping[str, Any]) -> T:
    """``settings`` with those of a dataset's recipe that it has a field for."""
    own = {key: value for key, value in recipe.items() if key in names(settings)}
    return replace(settings, **own)  # type: ignore[type-var]


def names(settings: Any) -> list[str]:
    """The names of a settings object's fields."""
    return [each.name for each in fields(settings)]


def convert(key: str, text: str, kind: Any) -> Any:
    """``text`` as a value of type ``kind`` (int, float, bool, str, or one of these or None).

    Raises UsageError that names the key and what it takes.
    """
    if isinstance(kind, types.UnionType):
        if text.lower() in ("", "none"):
            return None
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    if kind is bool:
        words = {
            "true": True,
            "yes": True,
            "1": True,
            "on": True,
            "false": False,
            "no": False,
            "0": False,
            "off": False,
        }
        if text.lower() not in words:
            raise UsageError(f"Setting {key!r} takes true or false, not {text!r}.")
        return words[text.lower()]
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise UsageError(f"Setting {key!r} has no choice {text!r}. {nearest(text, typing.get_args(kind))}")
        return text
    try:
        return kind(text)
    except ValueError as error:
        word = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise UsageError(f"Setting {key!r} takes {word}, not {text!r}.") from error
