"""Files are whole or absent, and what was altered is not read."""

from __future__ import annotations

import errno
import os
import pickle
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bench.io as writing
from bench.errors import StorageError
from bench.io import digest_of, read_tensors, write_tensors, write_whole

TENSORS = {"a": torch.arange(6, dtype=torch.float32).view(2, 3), "b": torch.tensor([1, 2], dtype=torch.int64)}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 3, "names": ["ä"]})
    found = read_tensors(path)
    assert found is not None
    assert found[1] == {"step": 3, "names": ["ä"]}
    assert found[0].keys() == TENSORS.keys()
    assert all(torch.equal(found[0][name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some space"), (errno.EACCES, "--cache-dir")],
)
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    number: int, message: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_whole(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writing.os, "fsync", fail) if moment == "fsync" else monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StorageError, match=message):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(writing.os, "fsync", lambda number: (order.append("flush"), fsync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda own, new: (order.append("rename"), replace(own, new))[1])
    write_whole(tmp_path / "x", b"new")
    assert order == ["flush", "rename"]


def test_two_containers_that_share_a_folder_do_not_write_into_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their processes have the same numbers; what one has written halfway is not the other's."""
    path, replace = tmp_path / "x", Path.replace
    monkeypatch.setattr(os, "getpid", lambda: 7)

    def late(own: Path, new: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        write_whole(path, b"the other's")  # it begins and ends while this one is about to rename
        assert own.read_bytes() == b"mine"
        return replace(own, new)

    monkeypatch.setattr(Path, "replace", late)
    write_whole(path, b"mine")
    assert path.read_bytes() == b"mine"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_file_that_another_process_finishes_meanwhile_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name was there when the folder was read, and is not when it is looked at."""
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([folder / "table.0123456789ab.tmp"]))
    write_whole(tmp_path / "table", b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("table", b"whole")]


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, young, other = tmp_path / "x.17.tmp", tmp_path / "x.18.tmp", tmp_path / "y.17.tmp"
    for each in (old, young, other):
        each.write_bytes(b"half")
    long_ago = time.time() - 2 * writing.ABANDONED_SECONDS
    for each in (old, other):
        os.utime(each, (long_ago, long_ago))
    write_whole(tmp_path / "x", b"new")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x", "x.18.tmp", "y.17.tmp"]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_seen(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("flipped") / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 3})
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = read_tensors(path)
    # A flip in the header that changes nothing, such as a blank in its padding, may leave the file what it was.
    assert found is None or (found[1] == {"step": 3} and digest_of(found[0]) == digest_of(TENSORS))


@settings(max_examples=30, deadline=None)
@given(length=st.integers(0, 400))
def test_a_file_that_was_cut_off_is_not_read(length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "x.safetensors"
    write_tensors(path, TENSORS, {"step": 3})
    content = path.read_bytes()
    path.write_bytes(content[: min(length, len(content) - 1)])
    assert read_tensors(path) is None


def test_what_is_no_such_file_is_not_read(tmp_path: Path) -> None:
    assert read_tensors(tmp_path / "none") is None
    (tmp_path / "pickled").write_bytes(pickle.dumps({"a": 1}))
    assert read_tensors(tmp_path / "pickled") is None
    from safetensors.torch import save_file

    save_file(TENSORS, tmp_path / "plain")  # by somebody else, without facts and digest
    assert read_tensors(tmp_path / "plain") is None


def test_the_digest_tells_names_shapes_types_and_texts_apart() -> None:
    one = torch.zeros(4)
    variants = [
        ({"a": one}, ""),
        ({"b": one}, ""),
        ({"a": one.view(2, 2)}, ""),
        ({"a": one.to(torch.int32)}, ""),
        ({"a": -one}, ""),
        ({"a": one}, "text"),
    ]
    assert len({digest_of(tensors, text) for tensors, text in variants}) == len(variants)
    channels_last = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert digest_of({"a": channels_last}) == digest_of({"a": channels_last.contiguous()})
