"""Published file lists line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.published.file_lists import read_file_list
from bench.errors import DataError


def listed(folder: Path, content: bytes) -> list[tuple[int, str, int]]:
    (folder / "list.txt").write_bytes(content)
    return list(read_file_list(folder, "list.txt"))


def test_the_last_word_is_the_label_and_the_rest_the_path(tmp_path: Path) -> None:
    content = b"images/palm tree/image_01353.jpg 16\nimages/cow/304. cow-calf-cattle-stock-51311.jpeg 1\n"
    assert listed(tmp_path, content) == [
        (1, "images/palm tree/image_01353.jpg", 16),
        (2, "images/cow/304. cow-calf-cattle-stock-51311.jpeg", 1),
    ]


@pytest.mark.parametrize("content", ["a/é.png 3", "\ufeffa/é.png 3\r\n", "a/é.png\t3\n\n \n"])
def test_marks_and_line_ends_of_other_systems(content: str, tmp_path: Path) -> None:
    assert listed(tmp_path, content.encode()) == [(1, "a/é.png", 3)]


@pytest.mark.parametrize("line", ["a/b.png", "a/b.png x", "a/b.png -1", "a/b.png 1.5", "a/b.png \u0663", "", "7"])
def test_a_line_without_a_label(line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Line 2 of file list list\.txt has no label"):
        listed(tmp_path, f"a/b.png 0\n{line}\na/c.png 0\n".encode())


@pytest.mark.parametrize(
    "path",
    ["../b.png", "a/../../b.png", "/etc/b.png", "C:/b.png", "a\\..\\b.png", "./a/b.png", "a//b.png", "a/.."],
)
def test_a_path_that_leaves_the_root(path: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Line 1 of file list list\.txt has a path that leaves the dataset's folder"):
        listed(tmp_path, f"{path} 0\n".encode())


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_list(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        listed(tmp_path, content)


def test_a_list_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        listed(tmp_path, b"a/\xff.png 0\n")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_file_list(tmp_path, "none.txt"))
