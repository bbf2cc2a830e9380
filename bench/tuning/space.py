"""The search space: settings by name, each with the values to try."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from bench.errors import UsageError
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
    ranges: dict[str, tuple[Any, ...]] = {}
    for part in settings:
        for each in fields(part) if terms or not isinstance(part, RunSettings) else ():
            if declared := each.metadata.get("search"):
                default = getattr(part, each.name)
                if isinstance(default, str) or declared[0] <= default <= declared[1]:
                    ranges[each.name] = declared
                elif default:
                    ranges[each.name] = (default / FACTOR, default * FACTOR)
    weights = {f"weight_{term}" for term in terms[1:]}
    for part in settings:
        for name in [each.name for each in fields(part) if each.name in weights and getattr(part, each.name)]:
            ranges[name] = (getattr(part, name) / FACTOR, getattr(part, name) * FACTOR)
    chosen = given(fixed)
    return {name: _declared(values) for name, values in ranges.items() if name not in chosen}


def read_space(path: Path, settings: Sequence[Any]) -> Space:
    """The space of a TOML file: ``lr = {low = 1e-5, high = 1e-3, log = true}``, ``dim = [64, 128]``.

    Whole numbers are tried between two whole ends. Raises UsageError for a file that cannot be read, an unknown
    setting and values that it does not take.
    """
    try:
        content: Mapping[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--space {path} cannot be read ({reason}).") from error
    space = {}
    for name, given_values in content.items():
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


def _declared(values: tuple[Any, ...]) -> BaseDistribution:
    if isinstance(values[0], str):
        return CategoricalDistribution(values)
    low, high = values
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
