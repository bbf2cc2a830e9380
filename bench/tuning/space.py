"""The search space: settings by name, each with the values to try."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from bench.errors import UsageError, reason
from bench.settings.request import in_text
from bench.settings.run_settings import RunSettings, assign, given

FACTOR = 10.0  # what is searched around its default: between a tenth and ten times of it
DIGITS = 3  # significant digits of a value that is tried

Space = dict[str, BaseDistribution]


def declared_space(settings: Sequence[Any], terms: Sequence[str], fixed: Sequence[str]) -> Space:
    """What settings declare, and the weights of the loss ``terms`` but the first; without ``fixed`` ones.

    A declared range that does not hold the default, such as a learning rate of a large network, is replaced by one
    around it. A default of 0 outside its range stays 0. Only the ratio of the weights matters to most optimisers, so
    one weight stays as it is. Without terms nothing is trained, so the settings of the training are left out.
    """
    space, weights = Space(), {f"weight_{term}" for term in terms[1:]}
    for part in settings:
        for each in fields(part) if terms or not isinstance(part, RunSettings) else ():
            default, declared = getattr(part, each.name), each.metadata.get("search")
            if isinstance(default, str) and declared:
                space[each.name] = CategoricalDistribution(declared)
            elif declared and declared[0] <= default <= declared[1]:
                space[each.name] = _range(*declared)
            elif default and (declared or each.name in weights):
                space[each.name] = _range(default / FACTOR, default * FACTOR)
    for name in space.keys() & given(fixed):
        del space[name]
    return dict(sorted(space.items(), key=lambda each: each[0] in weights))  # the order in which values are drawn


def read_space(path: Path, settings: Sequence[Any]) -> Space:
    """The space of a TOML file: ``lr = {low = 1e-5, high = 1e-3, log = true}``, ``dim = [64, 128]``.

    Whole numbers are tried between two whole ends. Raises UsageError for a file that cannot be read, an unknown
    setting and values that it does not take.
    """
    try:
        content: Mapping[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--space {path} cannot be read ({reason(error)}).") from error
    space = Space()
    for key, given_values in content.items():
        name = key.replace("-", "_")
        space[name] = _distribution(path, name, given_values)
        ends = given_values if isinstance(given_values, list) else [given_values["low"], given_values["high"]]
        for value in ends:
            assign(settings, [f"{name}={in_text(value)}"])
    if not space:
        raise UsageError(f"--space {path} names no setting: write a line such as lr = {{low = 1e-5, high = 1e-3}}.")
    return space


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a trial in few digits, as they are run.

    >>> rounded({"lr": 0.000123456, "dim": 64, "mining": "hard"})
    {'lr': 0.000123, 'dim': 64, 'mining': 'hard'}
    """
    return {name: float(f"{each:.{DIGITS}g}") if isinstance(each, float) else each for name, each in values.items()}


def as_assignments(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Values of a trial as ``key=value``.

    >>> as_assignments({"lr": 0.000123456, "mining": "hard"})
    ('lr=0.000123', 'mining=hard')
    """
    return tuple(f"{name}={in_text(value)}" for name, value in rounded(values).items())


def _range(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=low > 0 and high / low >= FACTOR)


def _distribution(path: Path, name: str, values: Any) -> BaseDistribution:
    try:
        if isinstance(values, list):
            return CategoricalDistribution(values)
        whole = all(isinstance(values[end], int) for end in ("low", "high"))
        return IntDistribution(**values) if whole else FloatDistribution(**values)
    except (TypeError, KeyError, ValueError) as error:
        raise UsageError(
            f"--space {path}: {name} takes a list of values, or {{low = 1, high = 8, log = true}} ({error})."
        ) from error
