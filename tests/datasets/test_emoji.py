from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bench.datasets import emoji
from bench.datasets.base import DATASETS
from bench.errors import DataError, UsageError


def test_the_split_is_the_documented_one(tmp_path: Path) -> None:
    split = DATASETS.get("emoji")(tmp_path).split()
    assert (len(split.seen), len(split.unseen)) == (313, 93)
    assert (len(split.queries), len(split.gallery), len(split.train)) == (431, 600, 3456)
    unseen = hashlib.sha256("\n".join(sorted(split.unseen)).encode()).hexdigest()
    assert unseen == "1a51b5d80de822db57816898a7566c3517a8e21ee210f1abd85e3be672270b7f"
    assert [item.path for item in split.gallery] == sorted(item.path for item in split.gallery)


def test_an_unknown_split_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no split 'emoji-39'. Did you mean 'emoji-93'"):
        DATASETS.get("emoji")(tmp_path).split("emoji-39")


class Folder:
    """A stand-in for the folder of the embedded files."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    def __truediv__(self, name: str) -> Folder:
        return self

    def read_bytes(self) -> bytes:
        if self.content is None:
            raise FileNotFoundError
        return self.content


@pytest.mark.parametrize(("content", "message"), [(b"PK broken", "is damaged"), (None, "is missing or unreadable")])
def test_a_damaged_or_missing_archive(
    content: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emoji.resources, "files", lambda package: Folder(content))
    dataset = DATASETS.get("emoji")(tmp_path)
    with pytest.raises(DataError, match=message):
        dataset.read("sketch/ant/openmoji.png")


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no readable member sketch/ant/none.png"):
        DATASETS.get("emoji")(tmp_path).read("sketch/ant/none.png")
