from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from bench.errors import LoadingError, UsageError
from bench.registry import Registry


def registry() -> Registry[str]:
    known: Registry[str] = Registry("fruit", "reports", "bench.none")
    known.register("Banana")("yellow")
    known.register("apple")("red")
    return known


def test_an_unknown_name_is_answered_with_the_nearest_whatever_the_case() -> None:
    with pytest.raises(UsageError, match=r"There is no fruit 'bananna'. Did you mean 'Banana'\?"):
        registry().get("bananna")


def test_a_name_like_none_is_answered_with_all_names() -> None:
    with pytest.raises(UsageError, match=r"There is no fruit 'xyz'. There is Banana, apple."):
        registry().get("xyz")


def test_two_things_cannot_have_one_name() -> None:
    known = registry()
    with pytest.raises(ValueError, match="two fruits are called 'apple'"):
        known.register("apple")("green")


def test_a_broken_plug_in_hurts_only_who_asks_for_it() -> None:
    known = registry()
    known.names()
    known._plugins["pear"] = EntryPoint("pear", "no_such_package:Pear", "bench.none")
    assert known.names() == ["Banana", "apple", "pear"]
    assert known.get("apple") == "red"
    with pytest.raises(LoadingError, match=r"The fruit 'pear' .* cannot be loaded \(ModuleNotFoundError"):
        known.get("pear")
