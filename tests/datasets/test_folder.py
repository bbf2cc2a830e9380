"""A user's own images: unseen classes, names in any script, and errors of the folder."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from bench.datasets.folder import Folder, FolderSettings
from bench.errors import DataError, UsageError
from bench.settings.run_settings import assign
from bench.types import Split
from tests.datasets.trees import write

CLASSES = ("Straße", "cat", "ice cream", "東京")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    for name in CLASSES:
        for number in (1, 2):
            write(own / "sketch" / name / f"no {number}.png", sketch=True)
            write(own / "image" / name / f"{name} {number}.jpg")
    return own


def folder(root: Path | str, *assignments: str) -> Folder:
    (settings,) = assign([FolderSettings()], [f"root={root}", *assignments])
    return Folder(Path("data"), settings)


def split(root: Path, *assignments: str) -> Split:
    return folder(root, *assignments).split()


def test_named_classes_are_tested_and_the_others_trained_on(root: Path) -> None:
    found = split(root, "unseen=東京, ice cream", "name=mine")
    assert (found.dataset, found.unseen, found.seen) == ("mine", ("ice cream", "東京"), ("Straße", "cat"))
    digest = hashlib.sha256("ice cream\n東京".encode()).hexdigest()
    assert found.name == f"unseen-{digest[:8]}"
    assert [item.path for item in found.queries] == [
        *("sketch/ice cream/no 1.png", "sketch/ice cream/no 2.png", "sketch/東京/no 1.png", "sketch/東京/no 2.png")
    ]
    assert found.gallery[0].path == "image/ice cream/ice cream 1.jpg"
    assert len(found.train) == 8
    assert folder(root, "unseen=cat").read(found.gallery[0].path)


def test_all_classes_may_be_unseen(root: Path) -> None:
    found = split(root, "unseen=all")
    assert (found.unseen, found.seen, found.train) == (CLASSES, (), ())
    assert found.name.startswith("all-")


@pytest.mark.parametrize(
    "text",
    [
        "cat\n東京\n",
        "\ufeff# chosen by hand\r\n\r\ncat\r\n東京\r\n",
        "# ours\n[unseen]\n東京\ncat\n[seen]\nStraße\nice cream\n",
    ],
)
def test_a_file_names_the_classes(text: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "unseen.txt").write_text(text, encoding="utf-8", newline="")
    assert split(root, f"unseen=@{tmp_path}/unseen.txt") == split(root, "unseen=東京,cat")


def test_a_draw_depends_only_on_seed_and_names_and_is_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bench.datasets")
    found = split(root, "draw=2", "seed=7")
    by_hash = sorted(CLASSES, key=lambda name: hashlib.sha256(f"7\n{name}".encode()).digest())
    assert set(found.unseen) == set(by_hash[:2])
    digest = hashlib.sha256("\n".join(sorted(found.unseen)).encode()).hexdigest()
    assert found.name == f"draw2-seed7-{digest[:8]}"
    assert f"2 of 4 classes drawn with seed 7 ({', '.join(found.unseen)}; sha256 {digest})" in caplog.text
    assert {split(root, "draw=1", f"seed={seed}").unseen for seed in range(20)} == {(name,) for name in CLASSES}
    one, three = (set(split(root, f"draw={count}").unseen) for count in (1, 3))
    assert one < three


def test_a_name_composed_here_and_decomposed_there_is_one_class(root: Path) -> None:
    write(root / "sketch" / "cafe\u0301" / "1.png")
    write(root / "image" / "caf\u00e9" / "1.png")
    assert "caf\u00e9" in split(root, "unseen=cafe\u0301").unseen


def test_the_split_has_one_name(root: Path) -> None:
    dataset = folder(root, "unseen=cat")
    name = dataset.split().name
    assert dataset.split(name) == dataset.split("folder") == dataset.split(None)
    with pytest.raises(UsageError, match=f"The folder's split is '{name}', not 'sketchy-25': omit --split"):
        dataset.split("sketchy-25")


def test_the_folder_is_not_part_of_the_identity(root: Path) -> None:
    assert folder(root, "unseen=cat", "ink_crop=yes").identity() == {"name": "folder", "ink_crop": True}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        ([], "needs --set unseen=all|@FILE|name,name or --set draw=N"),
        (["unseen=all", "draw=2"], "not both"),
        (["unseen=dog"], "Unseen class 'dog' is not in"),
        (["unseen=cot"], "Did you mean 'cat'?"),
        (["unseen=,"], "names no class"),
        (["unseen=@nowhere.txt"], "The list of unseen classes nowhere.txt cannot be read"),
        (["draw=5"], "--set draw=5 is out of range: the folder has 4 classes"),
        (["draw=-1"], "--set draw=-1 is out of range"),
        (["unseen=all", "name=sketchy"], "--set name=sketchy is taken by another dataset"),
        (["unseen=all", "name= "], "is taken by another dataset"),
    ],
)
def test_settings_without_valid_test_classes(assignments: list[str], message: str, root: Path) -> None:
    with pytest.raises(UsageError) as caught:
        split(root, *assignments)
    assert message in str(caught.value)


def test_an_empty_list_and_one_that_is_no_text(root: Path, tmp_path: Path) -> None:
    for content, message in ((b"# nobody\n", "names no class"), (b"\xff\xfe", "cannot be read")):
        (tmp_path / "unseen.txt").write_bytes(content)
        with pytest.raises(UsageError, match=message):
            split(root, f"unseen=@{tmp_path}/unseen.txt")


def test_no_root_and_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs --set root=PATH"):
        folder("", "unseen=all").split()
    with pytest.raises(DataError, match=r"There is no folder .*none: --set root=PATH names a folder with sketch/"):
        folder(tmp_path / "none", "unseen=all").split()


def test_modalities_that_are_missing_or_there_twice(root: Path) -> None:
    (root / "photo").mkdir()
    with pytest.raises(DataError, match="has both image/ and photo/"):
        split(root, "unseen=all")
    (root / "photo").rmdir()
    (root / "sketch").rename(root / "drawings")
    with pytest.raises(DataError, match=r"has no sketch/ \(it holds drawings/, image/\): give it sketch/<class>"):
        split(root, "unseen=all")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sketch/Cat/1.png", "Class folders 'Cat' and 'cat' in sketch/ differ only by case"),
        ("sketch/dog/1.png", "Class 'dog' has a sketch but no photo: add one"),
        ("sketch/catt/1.png", "Class 'catt' has a sketch but no photo"),
        ("image/dog/1.png", "Class 'dog' has a photo but no sketch"),
        ("sketch/dog/1.txt", "Class folder sketch/dog of"),
    ],
)
def test_an_incomplete_class(path: str, message: str, root: Path) -> None:
    write(root / path)
    with pytest.raises(DataError) as caught:
        split(root, "unseen=all")
    assert message in str(caught.value)


def test_two_spellings_of_one_class_are_pointed_out(root: Path) -> None:
    (root / "image" / "ice cream").rename(root / "image" / "icecream")
    with pytest.raises(DataError, match=r"Class 'ice cream' has a sketch but no photo \(Did you mean 'icecream'\?\)"):
        split(root, "unseen=all")


def test_an_empty_folder(tmp_path: Path) -> None:
    for name in ("sketch", "photo"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="holds no images: give it"):
        split(tmp_path, "unseen=all")


def test_counts_and_ignored_entries(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("sketch/loose.png", "image/cat/notes.txt", "image/cat/inner/1.png"):
        write(root / path)
    found = folder(root).survey()
    assert found.counts["sketch"] == dict.fromkeys(CLASSES, 2)
    assert set(found.stray) == {"sketch/loose.png", "image/cat/notes.txt", "image/cat/inner"}
    split(root, "unseen=all")
    assert "no image of a class: 3 (sketch/loose.png ...)" in caplog.text
    where = folder(root).whereabouts()
    assert (where.root, where.layout) == (root, "folder")
    assert folder("").whereabouts().nearby == ("no folder is set: pass --set root=PATH",)
    assert folder(root / "none").whereabouts().root is None


def test_a_missing_image_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"Image sketch/cat/9\.png cannot be read"):
        folder(root).read("sketch/cat/9.png")


def test_an_invalid_name_matters_only_if_the_split_uses_the_file(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "sketch" / "cat" / "shot 14.33\u202fUhr.png").write_bytes((root / "sketch/cat/no 1.png").read_bytes())
    (root / "sketch" / "cat" / "a\nb.txt").touch()
    assert "sketch/cat/shot 14.33\u202fUhr.png" in [item.path for item in split(root, "unseen=cat").queries]
    assert "(sketch/cat/a\\nb.txt ...)" in caplog.text
    (root / "image" / "Straße" / "a\nb.png").touch()
    with pytest.raises(DataError, match=r"The name image/Straße/a\\nb\.png in .* has a control character"):
        split(root, "unseen=cat")


def test_a_name_that_is_no_utf_8(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    try:
        os.close(os.open(os.fsencode(root / "sketch" / "cat") + b"/\xff.txt", os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    split(root, "unseen=cat")
    assert "(sketch/cat/\\xff.txt ...)" in caplog.text
    (root / "sketch" / "cat" / "\udcff.txt").rename(root / "sketch" / "cat" / "\udcff.png")
    with pytest.raises(DataError, match=r"The name sketch/cat/\\xff\.png in .* is not valid UTF-8"):
        split(root, "unseen=cat")
