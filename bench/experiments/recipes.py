"""Named recipes: settings of a method that belong together, such as those of its authors' code."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from bench.errors import UsageError, check_known
from bench.methods.base import METHODS, Method
from bench.settings.request import in_text
from bench.settings.run_settings import given


def with_recipe_named(method: str, recipe: str, assignments: Sequence[str]) -> tuple[str, ...]:
    """``key=value`` texts of a method's recipe, then ``assignments``, which win.

    Raises UsageError if the method has no such recipe.
    """
    if not method:
        raise UsageError(f"--checkpoint scores a network as it was trained: leave out --recipe {recipe}.")
    recipes = METHODS.get(method).recipes
    check_known(f"Method {method!r} has no recipe", recipe, recipes)
    own = given(assignments)
    return (*(f"{key}={in_text(value)}" for key, value in recipes[recipe].items() if key not in own), *assignments)


def recipe_of(method: type[Method], settings: Sequence[Any], ablated: Collection[str]) -> str:
    """The name of the recipe whose values all ``settings`` of a run have, but for ``ablated`` ones; empty for none."""
    values = {name: value for part in settings for name, value in asdict(part).items()}
    for name, recipe in method.recipes.items():
        if all(key in values and values[key] == value for key, value in recipe.items() if key not in ablated):
            return name
    return ""
