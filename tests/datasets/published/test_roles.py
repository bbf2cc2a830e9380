"""Roles of a split from folders and from published lists, and everything that may be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.published.class_names import ClassNames
from bench.datasets.published.class_splits import ClassSplit
from bench.datasets.published.layouts import Layout, Lists, Place
from bench.datasets.published.roles import Assembly
from bench.errors import DataError
from bench.types import Item
from tests.datasets.trees import put_list, touch_all

LISTS = Lists("lists/sketch_{}.txt", "lists/photo_{}.txt")
LAYOUT = Layout("own", "nobody", sketches=("sk",), photos=("ph",), repeated=("originals",), lists={"s": (LISTS,)})
CLASSES = ClassSplit("s", "a split", seen=("cat", "palm tree"), unseen=("zebra", "hot-dog"))
FILES = [
    *("sk/cat/1.png", "sk/cat/2.png", "sk/cat/3.png", "sk/palm_tree/1.png", "sk/palm_tree/2.png"),
    *("sk/zebra/2.png", "sk/zebra/10.png", "sk/hot dog/1.png", "ph/cat/1.jpg", "ph/palm tree/1.jpg"),
    *("ph/zebra/b.jpg", "ph/zebra/a.jpg", "ph/hotdog/1.jpg", "originals/zebra/z.jpg", "originals/cat/z.jpg"),
]
ZERO = {
    "lists/sketch_zero.txt": ["sk/hot dog/1.png 1", "sk/zebra/2.png 0", "sk/zebra/10.png 0"],
    "lists/photo_zero.txt": ["originals/zebra/z.jpg 0", "ph/hotdog/1.jpg 1", "ph/zebra/b.jpg 0", "ph/zebra/a.jpg 0"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch_all(tmp_path, FILES)
    return tmp_path


def assembly(root: Path, *, repeated: bool = True) -> Assembly:
    return Assembly(Place(root, LAYOUT), ClassNames(CLASSES.seen + CLASSES.unseen), repeated=repeated)


def put(root: Path, **changed: list[str]) -> None:
    for name, lines in {**ZERO, **{f"lists/{key}.txt": lines for key, lines in changed.items()}}.items():
        put_list(root / name, lines)


def paths(items: tuple[Item, ...]) -> list[str]:
    return [item.path for item in items]


@pytest.mark.parametrize("repeated", [True, False])
def test_folders_come_class_by_class_in_the_order_of_the_split(root: Path, repeated: bool) -> None:
    roles = assembly(root, repeated=repeated).from_folders(CLASSES)
    assert paths(roles.queries) == ["sk/zebra/10.png", "sk/zebra/2.png", "sk/hot dog/1.png"]
    originals = ["originals/zebra/z.jpg"] if repeated else []
    assert paths(roles.gallery) == [*originals, "ph/zebra/a.jpg", "ph/zebra/b.jpg", "ph/hotdog/1.jpg"]
    assert [item.class_name for item in roles.gallery][-1] == "hot-dog"
    assert len(roles.train) == 5 + 2 + repeated
    assert roles.validation == ()


def test_lists_keep_their_order_and_the_gallery_unique_leaves_originals_out(root: Path) -> None:
    put(root)
    full = assembly(root).from_lists(CLASSES, LISTS)
    assert paths(full.queries) == ["sk/hot dog/1.png", "sk/zebra/2.png", "sk/zebra/10.png"]
    assert [item.class_name for item in full.queries] == ["hot-dog", "zebra", "zebra"]
    assert paths(full.gallery)[:2] == ["originals/zebra/z.jpg", "ph/hotdog/1.jpg"]
    unique = assembly(root, repeated=False).from_lists(CLASSES, LISTS)
    assert paths(unique.gallery) == paths(full.gallery)[1:]
    assert "originals/cat/z.jpg" in paths(full.train)
    assert "originals/cat/z.jpg" not in paths(unique.train)


def test_without_lists_of_seen_classes_these_are_rebuilt_with_a_warning(root: Path) -> None:
    put(root)
    roles = assembly(root).from_lists(CLASSES, LISTS)
    assert roles.rebuilt == ("training sketches", "training photos")
    assert len(roles.train) == 8
    put(root, sketch_test=["sk/cat/2.png 0", "sk/palm_tree/1.png 1"])
    roles = assembly(root).from_lists(CLASSES, LISTS)
    assert paths(roles.validation) == ["sk/cat/2.png", "sk/palm_tree/1.png"]
    assert not set(paths(roles.validation)) & set(paths(roles.train))


def test_validation_is_what_the_training_list_leaves_out(root: Path) -> None:
    put(
        root,
        sketch_train=["sk/cat/3.png 0", "sk/cat/1.png 0", "sk/palm_tree/2.png 1"],
        photo_train=["ph/cat/1.jpg 0", "ph/palm tree/1.jpg 1"],
    )
    roles = assembly(root).from_lists(CLASSES, LISTS)
    assert paths(roles.validation) == ["sk/cat/2.png", "sk/palm_tree/1.png"]
    assert paths(roles.train) == [
        "sk/cat/3.png",
        "sk/cat/1.png",
        "sk/palm_tree/2.png",
        "ph/cat/1.jpg",
        "ph/palm tree/1.jpg",
    ]
    assert roles.rebuilt == ("validation sketches",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sk/zebra/2.png 1", "gives sk/zebra/2.png the label 1, but in this split class 'zebra' has the label 0"),
        ("sk/cat/1.png 0", "class 'cat' is not on this side"),
        ("sk/unicorn/1.png 0", "'unicorn' is no class"),
        ("1.png 0", "'' is no class"),
        ("sk/zebra/3.png 0", "List lists/sketch_zero.txt names 1 file (sk/zebra/3.png), of 4, not found below"),
        ("sk/zebra/2.png", "has no label"),
        ("sk/../../zebra/2.png 0", "leaves the dataset's folder"),
    ],
)
def test_a_wrong_line_of_a_list(line: str, message: str, root: Path) -> None:
    put(root, sketch_zero=[*ZERO["lists/sketch_zero.txt"], line])
    with pytest.raises(DataError) as caught:
        assembly(root).from_lists(CLASSES, LISTS)
    assert message in str(caught.value)


def test_a_list_without_one_of_its_classes(root: Path) -> None:
    put(root, photo_zero=["ph/zebra/b.jpg 0"])
    with pytest.raises(DataError, match=r"File list lists/photo_zero\.txt has no line of 1 class \(hot-dog\)"):
        assembly(root).from_lists(CLASSES, LISTS)


def test_one_of_the_two_lists_of_unseen_classes_is_missing(root: Path) -> None:
    put(root)
    (root / "lists" / "photo_zero.txt").unlink()
    with pytest.raises(DataError, match=r"File list lists/photo_zero\.txt .* cannot be read"):
        assembly(root).from_lists(CLASSES, LISTS)


def test_a_class_without_photos_is_named(root: Path) -> None:
    (root / "ph" / "hotdog" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"No photo of 1 class \(hot-dog\), of 2 needed, is in originals, ph"):
        assembly(root).from_folders(CLASSES)


def test_a_class_folder_that_differs_by_case_alone(root: Path) -> None:
    (root / "ph" / "Zebra").mkdir()
    with pytest.raises(DataError, match=r"Folders 'Zebra' and 'zebra' in .*ph are both class 'zebra'"):
        assembly(root).from_folders(CLASSES)


def test_ignored_entries(root: Path) -> None:
    stray = ["ph/loose.jpg", "ph/zebra/readme.txt", "ph/zebra/inner/1.jpg"]
    touch_all(root, ["ph/unicorn/1.jpg", "ph/zebra/.DS_Store", *stray])
    assert assembly(root).stray() == (["ph/unicorn"], [*stray[:2], "ph/zebra/inner"])
    assert assembly(root).count("photo") == {"cat": 2, "palm tree": 1, "zebra": 3, "hot-dog": 1}
