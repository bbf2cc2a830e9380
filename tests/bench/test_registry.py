from __future__ import annotations

from abc import abstractmethod
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.base import DATASETS, Dataset
from bench.errors import LoadingError, UsageError
from bench.evaluation.protocols.base import PROTOCOLS
from bench.methods.base import METHODS, Method
from bench.registry import Plugin, Registry, not_derived_from
from bench.reports.base import FORMATS, KINDS, PICTURES

half: list[int] = []  # what a plug-in did before it failed


def registry() -> Registry[str]:
    known: Registry[str] = Registry("fruit", "bench.reports", "bench.none")
    known.register("Banana")("yellow")
    known.register("apple")("red")
    return known


def test_an_unknown_name_is_answered_with_the_nearest_whatever_the_case() -> None:
    with pytest.raises(UsageError, match=r"There is no fruit 'bananna'. Did you mean 'Banana'\?"):
        registry().get("bananna")


def test_a_name_like_none_is_answered_with_all_names() -> None:
    with pytest.raises(UsageError, match=r"There is no fruit 'xyz'. Available: Banana, apple."):
        registry().get("xyz")


@pytest.mark.parametrize("name", ["a.b", "no_such.package", ".", "a.", "..a", "base.x", "a/b", "", "a b", "1", "a\0b"])
def test_a_name_that_cannot_be_a_module_is_an_unknown_name(name: str) -> None:
    for known in (registry(), METHODS, DATASETS, PROTOCOLS, KINDS, FORMATS):
        with pytest.raises(UsageError, match=r"There is no "):
            known.get(name)


def test_a_module_that_is_not_registered_is_answered_with_how_to_register_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_lab_of_tests").mkdir()
    (tmp_path / "my_lab_of_tests" / "infonce.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r'"bench\.reports"\] kind\.NAME = "my_lab_of_tests\.infonce:OBJECT"'):
        KINDS.get("my_lab_of_tests.infonce")


def test_two_things_cannot_have_one_name() -> None:
    known = registry()
    with pytest.raises(ValueError, match="two fruits are called 'apple'"):
        known.register("apple")("green")


def test_a_broken_plug_in_hurts_only_who_asks_for_it() -> None:
    known = registry()
    known.names()
    known._plugins["pear"] = [EntryPoint("pear", "no_such_package:Pear", "bench.none")]
    assert known.names() == ["Banana", "apple", "pear"]
    assert known.get("apple") == "red"
    with pytest.raises(LoadingError, match=r"The fruit 'pear' .* cannot be loaded \(ModuleNotFoundError"):
        known.get("pear")


@pytest.mark.parametrize(
    "body", ["raise SystemExit(0)", "import sys; sys.exit('no')", "1 / 0", "half.append(1); 1 / 0"]
)
def test_whatever_a_plug_in_does_when_it_is_imported_it_says_the_same_each_time(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plug_in_that_fails.py").write_text(
        f"from tests.bench.test_registry import half\nassert not half, 'imported twice'\n{body}\n"
    )
    half.clear()
    monkeypatch.syspath_prepend(tmp_path)
    known = registry()
    known.names()
    known._plugins["pear"] = [EntryPoint("pear", "plug_in_that_fails:Pear", "bench.none")]
    said = set()
    for _ in range(2):
        with pytest.raises(LoadingError, match="cannot be loaded") as caught:
            known.get("pear")
        said.add(str(caught.value))
    assert len(said) == 1
    assert [value for _, value in known.items()] == ["yellow", "red"]
    half.clear()


class Distribution:
    """What a registry asks of the distribution behind an entry point."""

    def __init__(self, name: str) -> None:
        self.name, self.version = name, "1.0"


class Fruit:
    name: str
    weight: int
    peel: bool = True

    @abstractmethod
    def squeeze(self) -> str: ...


class Pear(Fruit):
    name, weight = "pear", 3

    def squeeze(self) -> str:
        return "juice"


class Stone(Fruit):
    name = "stone"


class Quince(Pear):
    name = "apple of Cydonia"


def with_plugins(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str, str], **changes: Any) -> Registry[Any]:
    """A registry of which other packages add to: (name, what it leads to in this module, distribution)."""
    found = []
    for name, value, distribution in points:
        point = EntryPoint(name, f"{__name__}:{value}", "bench.fruit")
        vars(point).update(dist=Distribution(distribution))
        found.append(point)
    monkeypatch.setattr("bench.registry.entry_points", lambda group: found)
    return Registry("fruit", "bench.evaluation.protocols", "bench.fruit", wrong=not_derived_from(Fruit), **changes)


def test_a_plug_in_is_found_named_and_told_apart_from_the_projects_own(monkeypatch: pytest.MonkeyPatch) -> None:
    known = with_plugins(monkeypatch, ("pear", "Pear", "orchard"))
    known.register("own")(Pear)
    assert known.names() == ["own", "pear"]
    assert known.get("pear") is Pear
    assert known.items() == [("own", Pear), ("pear", Pear)]
    assert (known.source("pear"), known.source("own")) == ("orchard 1.0", "")
    assert known.plugins() == [Plugin("fruit", "pear", "orchard 1.0", "")]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("pear", "no_such_thing", "AttributeError: "),
        ("stone", "Stone", "its class lacks weight, squeeze"),
        ("pear", "with_plugins", "it is no class derived from tests.bench.test_registry.Fruit"),
        ("quince", "Quince", "its name is 'apple of Cydonia'"),
    ],
)
def test_what_is_no_thing_of_the_kind_is_a_warning_in_a_list_and_an_error_when_asked_for(
    name: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = with_plugins(monkeypatch, (name, value, "heap"))
    known.register("apple")(Pear)
    assert known.items() == [("apple", Pear)]
    assert known.items() == [("apple", Pear)]
    (warning,) = caplog.messages  # said once
    assert warning.startswith(f"The fruit {name!r} of heap 1.0, {__name__}:{value}, cannot be loaded ({why}")
    with pytest.raises(LoadingError) as error:
        known.get(name)
    assert str(error.value) == warning


def test_of_one_name_the_projects_own_wins_and_then_the_first_package(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = with_plugins(monkeypatch, ("pear", "Quince", "b"), ("pear", "Pear", "a"), ("apple", "Pear", "a"))
    known.register("apple")(Quince)
    assert dict(known.items()) == {"apple": Quince, "pear": Pear}
    assert known.source("pear") == "a 1.0"
    assert [each.split(" is not used")[0] for each in caplog.messages] == [
        "The fruit 'apple' of a 1.0, tests.bench.test_registry:Pear, cannot be loaded (its name is 'pear'); "
        "fix or uninstall that package.",
        "The fruit 'pear' of b 1.0",
    ]


def test_registries_that_share_a_group_see_what_begins_with_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    known = with_plugins(monkeypatch, ("kind.pear", "Pear", "a"), ("format.stone", "Stone", "a"), prefix="kind.")
    assert known.names() == ["pear"]
    assert known.get("pear") is Pear


def test_every_registry_of_the_project_knows_what_belongs_to_it() -> None:
    assert METHODS._wrong(METHODS.get("ours")) == DATASETS._wrong(DATASETS.get("emoji")) == ""
    assert METHODS._wrong(Method) == "its class lacks name, summary, embed"
    assert DATASETS._wrong(Dataset) == "its class lacks name, summary, licence, split_names, load_split, read"
    for registry in (METHODS, DATASETS, PROTOCOLS, FORMATS, KINDS, PICTURES):
        assert all(registry._wrong(thing) == "" for _, thing in registry.items())
        assert registry._wrong(17).startswith("it is no ")
