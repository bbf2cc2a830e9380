"""Published spellings and their canonical names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.base import DATASETS
from bench.datasets.published.class_names import ClassNames, key, shared_classes
from bench.datasets.published.tree_dataset import TreeDataset
from bench.errors import DataError
from tests.datasets.trees import as_in_the_photo_archive, as_published, with_underscores

NAMES = {
    name: kind(Path()).names
    for name in ("sketchy", "tuberlin", "quickdraw")
    if issubclass(kind := DATASETS.get(name), TreeDataset)
}


@pytest.mark.parametrize("dataset", NAMES)
@pytest.mark.parametrize("spell", [as_published, with_underscores, str.upper, lambda name: name.replace("_", " ")])
def test_every_class_is_found_under_every_spelling(dataset: str, spell: object) -> None:
    assert callable(spell)
    names = NAMES[dataset]
    assert [names.find(spell(name)) for name in names.canonical] == list(names.canonical)


def test_every_folder_of_the_photo_archive_of_tuberlin() -> None:
    names = NAMES["tuberlin"]
    assert len(names.canonical) == 250
    assert [names.find(as_in_the_photo_archive(name)) for name in names.canonical] == list(names.canonical)


@pytest.mark.parametrize(
    ("dataset", "spelling", "meant"),
    [
        ("quickdraw", "palm_tree", "palm tree"),
        ("quickdraw", "fire hydrant", "fire_hydrant"),
        ("sketchy", "jack_o_lantern", "jack-o-lantern"),
        ("sketchy", "hot_air_balloon", "hot-air_balloon"),
        ("sketchy", "car_(sedan)", "car_(sedan)"),
        ("sketchy", "car", "car_(sedan)"),
        ("sketchy", "turtle", "turtle"),
        ("sketchy", "sea_turtle", "sea_turtle"),
        ("tuberlin", "mouse", "mouse (animal)"),
        ("tuberlin", "computer_mouse", "computer-mouse"),
        ("tuberlin", "bear_(animal)", "bear (animal)"),
        ("tuberlin", "teddy_bear", "teddy-bear"),
        ("tuberlin", "spacesshuttle", "space shuttle"),
        ("tuberlin", "flyingbird", "flying bird"),
        ("tuberlin", "T-Shirt", "t-shirt"),
        ("tuberlin", "unicorn", None),
    ],
)
def test_spellings_in_circulation(dataset: str, spelling: str, meant: str | None) -> None:
    assert NAMES[dataset].find(spelling) == meant


def test_an_accent_may_be_composed_or_not() -> None:
    assert key("Caf\u00e9 cre\u0300me") == key("cafe\u0301_cr\u00e8me")


def test_a_short_name_of_two_classes_means_neither() -> None:
    names = ClassNames(["mouse (animal)", "mouse (computer)"])
    assert names.find("mouse") is None
    assert names.find("mouse_animal") == "mouse (animal)"


def test_a_short_name_that_is_a_class_of_its_own() -> None:
    assert ClassNames(["pipe (for smoking)", "pipe"]).find("pipe") == "pipe"


@pytest.mark.parametrize("pair", [("hot dog", "hot-dog"), ("Horse", "horse")])
def test_twin_folders_are_refused_by_name(pair: tuple[str, str]) -> None:
    names = ClassNames(["hot-dog", "horse"])
    with pytest.raises(DataError, match=r"Folders '.*' and '.*' in photo are both class '.*': merge them"):
        names.folders(pair, "photo")
    assert names.folders([pair[0], "no class"], "photo") == {names.find(pair[0]): pair[0]}


def test_a_declaration_with_two_spellings_of_one_class_is_a_bug() -> None:
    with pytest.raises(ValueError, match="are spellings of one name"):
        ClassNames(["palm tree", "palm_tree"]).find("palm tree")


def test_a_class_that_a_network_saw_is_found_under_any_spelling() -> None:
    seen = ["car_(sedan)", "teddy_bear", "東京", "Café"]
    unseen = ["car (sedan)", "car", "car (toy)", "teddy-bear", "bear", "大阪", "東京", "cafe\u0301"]
    assert shared_classes(seen, unseen) == ["car (sedan)", "car", "teddy-bear", "東京", "cafe\u0301"]
