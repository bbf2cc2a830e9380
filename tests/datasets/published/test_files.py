"""Folder listings are sorted and cached; invalid names are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.published.files import Listing, Walker, check_name, escape, needed_for
from bench.errors import DataError


def test_folders_images_and_other_files(tmp_path: Path) -> None:
    for name in ("b.PNG", "a 1.jpeg", "Ä.webp", "notes.txt", ".hidden.png", "Thumbs.db", "Icon\r", "Z.jpg", "c.JFIF"):
        (tmp_path / name).touch()
    for name in ("東京", "b", "__MACOSX", ".git", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found"):
        (tmp_path / name).mkdir()
    assert Walker(tmp_path).listing("") == Listing(
        folders=("b", "東京"), images=("Z.jpg", "a 1.jpeg", "b.PNG", "c.JFIF", "Ä.webp"), stray=("notes.txt",)
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


@pytest.mark.parametrize(
    "name",
    ["Bildschirmfoto 14.33\u202fUhr.png", "a\u00a0b.png", "\u3000.png", "क्\u200cष.png", "👩\u200d🔬.png", "Ä"],
)
def test_names_of_any_script_are_valid(name: str) -> None:
    check_name(name, Path("data"))
    assert escape(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\nb.png", "a\\nb.png"), ("a\x7f", "a\\x7f"), ("a\u2028b", "a\\u2028b"), ("\udcffé.png", "\\xffé.png")],
)
def test_control_characters_line_separators_and_other_bytes_are_refused(name: str, shown: str) -> None:
    assert escape(name) == shown
    with pytest.raises(DataError) as caught:
        check_name(name, Path("data"))
    assert f"The name {shown} in data has a control character, or is not valid UTF-8" in str(caught.value)


def test_missing_plug_ins_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.datasets.published.files.image_suffixes", lambda: frozenset((".jpg",)))
    needed = needed_for(["a/b.HEIC", "notes.txt", "c.avif", "d.heic"])
    assert needed == "; .avif needs Pillow with AVIF, .heic needs the package pillow-heif"
    assert needed_for(["notes.txt"]) == ""
