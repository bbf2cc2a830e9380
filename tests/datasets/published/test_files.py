"""Folder listings: sorted, cached, and checked for invalid names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.datasets.published.files import Listing, Walker
from bench.errors import DataError


def test_folders_images_and_other_files(tmp_path: Path) -> None:
    for name in ("b.PNG", "a 1.jpeg", "Ä.webp", "notes.txt", ".hidden.png", "Thumbs.db", "Z.jpg"):
        (tmp_path / name).touch()
    for name in ("東京", "b", "__MACOSX", ".git"):
        (tmp_path / name).mkdir()
    assert Walker(tmp_path).listing("") == Listing(
        folders=("b", "東京"), images=("Z.jpg", "a 1.jpeg", "b.PNG", "Ä.webp"), stray=("notes.txt",)
    )


def test_a_folder_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    walker = Walker(tmp_path)
    assert not walker.has_image("a/1.png")
    (tmp_path / "a" / "1.png").touch()
    assert not walker.has_image("a/1.png")
    assert Walker(tmp_path).has_image("a/1.png")


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    assert Walker(tmp_path).listing("none") == Listing()
    assert not Walker(tmp_path).is_folder("none")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(DataError, match="data cannot be read"):
        Walker(tmp_path / "data").listing("")


def test_a_name_with_a_control_character(tmp_path: Path) -> None:
    (tmp_path / "a\nb.png").touch()
    with pytest.raises(DataError, match="control character"):
        Walker(tmp_path).listing("")


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    try:
        os.close(os.open(os.fsencode(tmp_path) + b"/\xff.png", os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match="not valid UTF-8"):
        Walker(tmp_path).listing("")
