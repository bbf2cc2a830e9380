"""Settings of a run: every one with its default and unit, and how text from the command line becomes one."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from bench.errors import UsageError, nearest
from bench.registry import Registry, not_a_function

T = TypeVar("T")
# An optimiser is made of parameter groups and the run's settings. A schedule gives the learning rate at a step (from 0)
# as a share of the highest: of the step, the number of steps and the settings. Both may stand in a method's own file.
OPTIMISERS: Registry[Callable[[list[dict[str, Any]], Any], Any]] = Registry(
    "optimiser", "bench.methods.modules", "bench.optimisers", wrong=not_a_function
)
SCHEDULES: Registry[Callable[[int, int, Any], float]] = Registry(
    "schedule", "bench.methods.modules", "bench.schedules", wrong=not_a_function
)
OF_ITS_BACKBONE = ("frozen_blocks",)  # what a recipe says of its own backbone, and of no other


@dataclass(frozen=True)
class Range:
    """Numbers from ``least`` to ``most``; without ``least`` itself where it is ``open``."""

    least: float
    most: float = math.inf
    open: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.least < value if self.open else self.least <= value) and value <= self.most

    def __str__(self) -> str:
        lower = f"{'more than' if self.open else 'at least'} {self.least:g}"
        return lower if math.isinf(self.most) else f"{lower} and at most {self.most:g}"


def setting(
    default: T,
    help: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float = math.inf,
    names: Registry[Any] | None = None,
) -> T:
    """A field of a settings dataclass: its default, the help that ``bench list settings`` prints, and its range.

    A number may be limited to ``least`` or more, or to more than ``above``, and to at most ``most``; a text to the
    ``names`` of a registry.
    """
    lower = above if least is None else least
    limits = None if lower is None else Range(lower, most, open=least is None)
    declared: T = field(default=default, metadata={"help": help, "range": limits, "names": names})
    return declared


@dataclass(frozen=True)
class RunSettings:
    """What every trained method shares; a dataset's recipe changes defaults, options and ``--set`` change both."""

    image_size: int = setting(224, "side of the square image that a network sees, in pixels", least=32)
    backbone: str = setting("resnet50", "name of a timm network")
    weights: str = setting("", "file of backbone weights; empty: ImageNet weights, none: random weights")
    epochs: float = setting(10.0, "passes over the training images; fractions are allowed", above=0)
    batch_size: int = setting(96, "images per batch, half of them sketches", least=2)
    per_class: int = setting(2, "sketches of each class in a batch, and as many photos", least=1)
    optimiser: str = setting("adam", "adamw decays weights apart from the gradients", names=OPTIMISERS)
    lr: float = setting(1e-4, "highest learning rate of the backbone", least=0)
    head_lr: float = setting(1e-3, "highest learning rate of new layers", least=0)
    weight_decay: float = setting(5e-4, "weight decay of every trained weight", least=0)
    schedule: str = setting(
        "exponential",
        "of the learning rates; exponential: down to 1/1000; one-cycle: linear warm-up, cosine to 0",
        names=SCHEDULES,
    )
    warmup: float = setting(0.2, "share of a one-cycle schedule that warms up", least=0, most=1)
    frozen_blocks: int = setting(-1, "number of backbone blocks, and the stem, that stay frozen; -1: none", least=-1)
    frozen_batchnorm: bool = setting(True, "the backbone's BatchNorm keeps its ImageNet statistics")
    rotation: float = setting(20.0, "augmentation: degrees to either side", least=0, most=180)
    scaling: float = setting(0.2, "augmentation: relative change of size, up or down", least=0, most=0.99)
    shift: float = setting(0.1, "augmentation: share of the image side, in each direction", least=0, most=1)
    mirror: bool = setting(True, "augmentation: left-right flips")
    grayscale: float = setting(0.0, "augmentation: probability that an image loses its colours", least=0, most=1)


def assign(settings: Sequence[Any], assignments: Sequence[str]) -> list[Any]:
    """Copies of the ``settings`` (frozen dataclasses) with each ``key=value`` text put where the key belongs.

    A value is converted by the type of its field. Raises UsageError for a text without ``=``, an unknown key (with
    the nearest one), a value that does not convert and a number that is out of range.
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
    for each in changed:
        check(each)
    return changed


def check(settings: Any) -> None:
    """Raise UsageError unless every number is finite and in its range (``setting``) and every name is registered.

    A loss weight is at least 0.
    """
    for each in fields(settings):
        value = getattr(settings, each.name)
        if registry := each.metadata.get("names"):
            registry.get(value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        allowed = each.metadata.get("range") or Range(0 if each.name.startswith("weight_") else -math.inf)
        if not math.isfinite(value):
            raise UsageError(f"Setting {each.name!r} takes a finite number, not {value}.")
        if value not in allowed:
            raise UsageError(f"Setting {each.name!r} is {value:g}, but must be {allowed}.")


def with_recipe(settings: T, recipe: Mapping[str, Any]) -> T:
    """``settings`` with those of a dataset's recipe that it has a field for."""
    own = {key: value for key, value in recipe.items() if key in names(settings)}
    return replace(settings, **own)  # type: ignore[type-var]


def recipe_for(recipe: Mapping[str, Any], backbone: str | None) -> Mapping[str, Any]:
    """A recipe as it is for this backbone (None: its own): how many blocks it freezes means its own backbone's blocks.

    >>> recipe_for({"backbone": "resnet50", "frozen_blocks": 5, "epochs": 4.0}, "resnet18")
    {'backbone': 'resnet50', 'epochs': 4.0}
    """
    if backbone in (None, recipe.get("backbone", RunSettings.backbone)):
        return recipe
    return {key: value for key, value in recipe.items() if key not in OF_ITS_BACKBONE}


def given(assignments: Sequence[str]) -> dict[str, str]:
    """The text of each key of ``key=value`` texts, the last where one is given twice.

    >>> given(["lr=0.1", "frozen-blocks=2", "lr=0.2"])
    {'lr': '0.2', 'frozen_blocks': '2'}
    """
    pairs = [each.partition("=") for each in assignments]
    return {key.strip().replace("-", "_"): text.strip() for key, _, text in pairs}


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
