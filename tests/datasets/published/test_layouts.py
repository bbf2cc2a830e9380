"""Finding a dataset's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.published.class_names import ClassNames
from bench.datasets.published.layouts import Layout, Lists, candidates, find_place

NAMES = ClassNames([f"class {letter}" for letter in "abcdefghij"])
FIRST = Layout("first", "one project", sketches=("sketches",), photos=("images",), repeated=("originals",))
SECOND = Layout("second", "another", sketches=("train/sketch", "val/sketch"), photos=("train/photo", "val/photo"))


def make(root: Path, layout: Layout, classes: int = 10) -> None:
    for folder in (*layout.sketches, *layout.photos):
        for name in NAMES.canonical[:classes]:
            (root / folder / name.replace(" ", "_")).mkdir(parents=True)


@pytest.mark.parametrize("layout", [FIRST, SECOND], ids=lambda layout: layout.name)
@pytest.mark.parametrize("below", [".", "datasets", "dataset", "My-Things", "datasets/my_things", "dataset/MyThings"])
def test_it_is_found_in_every_usual_place(layout: Layout, below: str, tmp_path: Path) -> None:
    make(tmp_path / below, layout)
    for own in (None, tmp_path):
        place = find_place(candidates(tmp_path, ["my things"], own), (FIRST, SECOND), NAMES)
        assert place is not None
        assert place.layout is layout
        assert place.root == tmp_path / below


def test_a_folder_that_is_named_needs_one_class_and_another_nearly_all(tmp_path: Path) -> None:
    make(tmp_path / "mythings", FIRST, classes=1)
    make(tmp_path / "datasets", FIRST, classes=8)
    assert find_place([(tmp_path / "mythings", True)], [FIRST], NAMES) is not None
    assert find_place([(tmp_path / "mythings", False)], [FIRST], NAMES) is None
    assert find_place([(tmp_path / "datasets", False)], [FIRST], NAMES) is None
    make(tmp_path / "dataset", FIRST, classes=9)
    assert find_place([(tmp_path / "dataset", False)], [FIRST], NAMES) is not None


def test_folders_of_other_classes_are_not_it(tmp_path: Path) -> None:
    for name in ("images/cat", "sketches/cat"):
        (tmp_path / name).mkdir(parents=True)
    assert find_place([(tmp_path, True)], [FIRST], NAMES) is None


def test_the_first_layout_wins(tmp_path: Path) -> None:
    make(tmp_path, SECOND)
    make(tmp_path, FIRST)
    place = find_place([(tmp_path, True)], [FIRST, SECOND], NAMES)
    assert place is not None
    assert place.layout is FIRST
    assert not place.has_repeated
    (tmp_path / "originals").mkdir()
    assert place.has_repeated


def test_the_searched_folders(tmp_path: Path) -> None:
    (tmp_path / "MY_THINGS").mkdir()
    (tmp_path / "other").mkdir()
    assert candidates(tmp_path, ["my things"], None) == [
        (tmp_path / "MY_THINGS", True),
        (tmp_path, False),
        (tmp_path / "datasets", False),
        (tmp_path / "dataset", False),
    ]
    assert candidates(Path("elsewhere"), ["my things"], tmp_path)[:2] == [
        (tmp_path, True),
        (tmp_path / "MY_THINGS", True),
    ]


def test_folders_lists_and_tree_of_a_layout() -> None:
    assert FIRST.folders("photo", repeated=True) == ("originals", "images")
    assert FIRST.folders("photo", repeated=False) == ("images",)
    assert FIRST.folders("sketch", repeated=True) == ("sketches",)
    assert SECOND.tree.startswith("train/sketch/<class>/*, val/sketch/<class>/*, train/photo")
    assert Lists("s_{}.txt", "p_{}.txt").path("photo", "zero") == "p_zero.txt"
