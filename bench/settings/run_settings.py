"""Settings of a run with defaults and units, and their conversion from text of the command line."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from bench.errors import UsageError, check_known, nearest
from bench.registry import Registry, not_a_function

T = TypeVar("T")
LEAST_SIZE = 32  # pixels of an image side
# An optimiser is a function of parameter groups and the run's settings. A schedule is a function of the step (from 0),
# the number of steps and the settings: the share of the highest learning rate. A method's own file may define both.
OPTIMISERS: Registry[Callable[[list[dict[str, Any]], Any], Any]] = Registry(
    "optimiser", "bench.methods.modules", "bench.optimisers", wrong=not_a_function
)
SCHEDULES: Registry[Callable[[int, int, Any], float]] = Registry(
    "schedule", "bench.methods.modules", "bench.schedules", wrong=not_a_function
)
TRUE, FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


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
    later: bool = False,
    search: tuple[float, float] | tuple[str, ...] | None = None,
) -> T:
    """A field of a settings dataclass: its default, the help that ``bench list settings`` prints, and its limits.

    A number is at least ``least``, or more than ``above``, and at most ``most``; a text is one of the registry's
    ``names``. ``later``: runs were stored before the setting existed, so their keys must not change (``in_key``).
    ``search``: the range in which ``bench tune`` looks for a better value, or the words that it tries.
    """
    lower = above if least is None else least
    limits = None if lower is None else Range(lower, most, open=least is None)
    facts = {"help": help, "range": limits, "names": names, "later": later, "search": search}
    declared: T = field(default=default, metadata=facts)
    return declared


def in_key(settings: Any) -> dict[str, Any]:
    """Settings as a run's key has them: without a ``later`` one that is at its default."""
    left_out = {each.name: each.default for each in fields(settings) if each.metadata.get("later")}
    return {name: value for name, value in asdict(settings).items() if (name, value) not in left_out.items()}


@dataclass(frozen=True)
class RunSettings:
    """Settings that all methods share. A dataset's recipe changes the defaults; options and ``--set`` win over both."""

    image_size: int = setting(224, "side of the square image that a network sees, in pixels", least=LEAST_SIZE)
    backbone: str = setting("resnet50", "name of a timm network")
    weights: str = setting("", "file of backbone weights; empty: ImageNet weights, none: random weights")
    epochs: float = setting(10.0, "passes over the training images; fractions are allowed", above=0)
    batch_size: int = setting(96, "images per batch, half of them sketches unless photo_share is set", least=2)
    per_class: int = setting(2, "sketches of each class in a batch, and as many photos", least=1)
    photo_share: float = setting(
        0.5, "share of photos in a batch, rounded to whole images", least=0, most=1, later=True
    )
    batches: Literal["classes", "images"] = setting(
        "classes", "classes: as many images of each class; images: of any class, as SAKE draws them", later=True
    )
    optimiser: str = setting("adam", "adamw decays weights apart from the gradients", names=OPTIMISERS)
    lr: float = setting(1e-4, "highest learning rate of the backbone", least=0, search=(1e-5, 1e-3))
    head_lr: float = setting(1e-3, "highest learning rate of new layers", least=0, search=(1e-4, 1e-2))
    weight_decay: float = setting(5e-4, "weight decay of every trained weight", least=0, search=(1e-5, 1e-2))
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
    instead_of: str = setting(
        "", "default backbone that was replaced, because its weights were missing; set by the run", later=True
    )

    @property
    def usual_batches(self) -> bool:
        """Whether each class of a batch has as many sketches as photos."""
        return (self.photo_share, self.batches) == (RunSettings.photo_share, RunSettings.batches)


def assign(settings: Sequence[Any], assignments: Sequence[str]) -> list[Any]:
    """Copies of the ``settings`` (frozen dataclasses) with the ``key=value`` texts applied.

    A value is converted to the type of its field. Raises UsageError for a text without ``=``, an unknown key (with the
    nearest one), a value of another type and a number that is out of range.
    """
    changed = list(settings)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, not {assignment!r}.")
        owners = [position for position, each in enumerate(changed) if key in names(each)]
        if not owners:
            meanings = {name.name: name.metadata.get("help", "") for each in changed for name in fields(each)}
            raise UsageError(f"There is no setting {key!r} here. {nearest(key, meanings, meanings)}")
        for position in owners:
            value = _convert(key, text.strip(), typing.get_type_hints(type(changed[position]))[key])
            changed[position] = replace(changed[position], **{key: value})
    for each in changed:
        check(each)
    return changed


def check(settings: Any) -> None:
    """Raise UsageError unless every number is finite and in its range, and every name is registered.

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
    """``settings`` with the values of a recipe for the fields that it has."""
    own = {key: value for key, value in recipe.items() if key in names(settings)}
    return replace(settings, **own)  # type: ignore[type-var]


def recipe_for(recipe: Mapping[str, Any], backbone: str | None) -> Mapping[str, Any]:
    """A recipe for this backbone (None: its own); the number of frozen blocks fits only the recipe's own backbone.

    >>> recipe_for({"backbone": "resnet50", "frozen_blocks": 5, "epochs": 4.0}, "resnet18")
    {'backbone': 'resnet50', 'epochs': 4.0}
    """
    if backbone in (None, recipe.get("backbone", RunSettings.backbone)):
        return recipe
    return {key: value for key, value in recipe.items() if key != "frozen_blocks"}


def given(assignments: Sequence[str]) -> dict[str, str]:
    """The text of each key of ``key=value`` texts; the last wins.

    >>> given(["lr=0.1", "frozen-blocks=2", "lr=0.2"])
    {'lr': '0.2', 'frozen_blocks': '2'}
    """
    pairs = [each.partition("=") for each in assignments]
    return {key.strip().replace("-", "_"): text.strip() for key, _, text in pairs}


def names(settings: Any) -> list[str]:
    """The names of a dataclass's fields."""
    return [each.name for each in fields(settings)]


def _convert(key: str, text: str, kind: Any) -> Any:
    """``text`` as a value of type ``kind``: int, float, bool, str, a Literal, or one of these or None."""
    if isinstance(kind, types.UnionType):
        if text.lower() in ("", "none"):
            return None
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    if kind is bool:
        if text.lower() not in (*TRUE, *FALSE):
            raise UsageError(f"Setting {key!r} takes true or false, not {text!r}.")
        return text.lower() in TRUE
    if typing.get_origin(kind) is typing.Literal:
        check_known(f"Setting {key!r} has no choice", text, typing.get_args(kind))
        return text
    try:
        return kind(text)
    except ValueError as error:
        word = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise UsageError(f"Setting {key!r} takes {word}, not {text!r}.") from error
