"""Embeddings files: both formats, every kind of number, and one sentence for everything that can be wrong."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from bench.embeddings.files import read_file
from bench.errors import DataError

Arrays = dict[str, npt.NDArray[Any]]


def arrays(**changed: Any) -> Arrays:
    good: Arrays = {
        "query": np.arange(6, dtype=np.float32).reshape(2, 3),
        "gallery": np.arange(12, dtype=np.float32).reshape(4, 3),
        "query_labels": np.array([0, 1]),
        "gallery_labels": np.array([0, 1, 1, 0]),
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def npz(folder: Path, **changed: Any) -> Path:
    np.savez(folder / "e.npz", **arrays(**changed))
    return folder / "e.npz"


def safetensors(folder: Path, **changed: Any) -> Path:
    save_file(arrays(**changed), folder / "e.safetensors")
    return folder / "e.safetensors"


@pytest.mark.parametrize("write", [npz, safetensors])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "int64", "uint8", "bool"])
def test_any_number_becomes_float32(write: Any, kind: str, tmp_path: Path) -> None:
    query = np.array([[0, 1, 1], [1, 0, 1]], dtype=kind)
    found = read_file(write(tmp_path, query=query, query_labels=np.array([1, 0], dtype=np.uint16)))
    assert found.embeddings.query.dtype == np.float32
    np.testing.assert_array_equal(found.embeddings.query, query.astype(np.float32))
    assert found.embeddings.query_labels.tolist() == [1, 0]
    assert found.embeddings.query_labels.dtype == np.int64
    assert found.query_paths is None
    assert found.gallery_paths is None


def test_compressed_and_in_fortran_order(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "e.npz", **arrays(gallery=np.asfortranarray(arrays()["gallery"])))
    found = read_file(tmp_path / "e.npz").embeddings
    assert found.gallery.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found.gallery, arrays()["gallery"])


def test_the_name_of_the_file_does_not_matter(tmp_path: Path) -> None:
    path = npz(tmp_path).rename(tmp_path / "embeddings.bin")
    assert read_file(path).embeddings.query.shape == (2, 3)


@pytest.mark.parametrize("write", [npz, safetensors])
def test_clusters_and_groups(write: Any, tmp_path: Path) -> None:
    marks = {"query_clusters": np.array([5, 5]), "query_groups": np.array([0, 1]), "gallery_groups": np.arange(4)}
    found = read_file(write(tmp_path, **marks)).embeddings
    for name, expected in marks.items():
        np.testing.assert_array_equal(getattr(found, name), expected)
    assert read_file(write(tmp_path)).embeddings.query_groups is None


def test_paths_of_an_npz(tmp_path: Path) -> None:
    found = read_file(npz(tmp_path, query_paths=np.array(["a b/1.png", "c/é.png"])))
    assert found.query_paths == ("a b/1.png", "c/é.png")
    assert found.gallery_paths is None


def test_paths_of_a_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    save_file(arrays(), path, metadata={"gallery_paths": "1.jpg\n2.jpg\nx y.jpg\n4.jpg"})
    assert read_file(path).gallery_paths == ("1.jpg", "2.jpg", "x y.jpg", "4.jpg")


@pytest.mark.parametrize("write", [npz, safetensors])
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"query": None}, "has no array 'query'"),
        ({"gallery": None}, "has no array 'gallery'"),
        ({"query_labels": None}, "has no array 'query_labels'"),
        ({"gallery_labels": None}, "has no array 'gallery_labels'"),
        ({"query": np.zeros(3)}, "'query' must be [rows, width]"),
        ({"query": np.zeros((0, 3)), "query_labels": np.zeros(0, int)}, "'query' must be [rows, width]"),
        ({"gallery": np.zeros((4, 0))}, "'gallery' must be [rows, width]"),
        ({"gallery": np.zeros((4, 5))}, "'query' has width 3, 'gallery' has width 5"),
        ({"query_labels": np.zeros(5, int)}, "'query_labels' has shape (5,), but 'query' has 2 rows"),
        ({"gallery_labels": np.zeros((4, 1), int)}, "'gallery_labels' has shape (4, 1)"),
        ({"query_labels": np.array([0, -1])}, "'query_labels' holds -1"),
        ({"query_labels": np.array([0.0, 1.0])}, "'query_labels' holds float64: labels are integers"),
        ({"gallery_labels": np.array([0, 1, 2, 2**63], np.uint64)}, "labels must be below 2^63"),
        ({"query": np.full((2, 3), np.nan)}, "'query' holds NaN or infinity, first in row 0"),
        ({"gallery": np.array([[0.0] * 3] * 3 + [[0, np.inf, 0]])}, "'gallery' holds NaN or infinity, first in row 3"),
        ({"query_clusters": np.zeros(3, int)}, "'query_clusters' has shape (3,), but 'query' has 2 rows"),
        ({"query_groups": np.zeros(2, int)}, "Only one of 'query_groups' and 'gallery_groups' is given"),
        ({"query_groups": np.zeros(2, int), "gallery_groups": -np.ones(4, int)}, "'gallery_groups' holds -1"),
        ({"query": np.full((2, 3), 1e300)}, "'query' holds NaN or infinity"),
    ],
    ids=lambda each: ",".join(each) if isinstance(each, dict) else "",
)
def test_wrong_arrays(write: Any, changed: Arrays, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_file(write(tmp_path, **changed))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"query": np.zeros((2, 3), complex)}, "'query' holds complex128: embeddings are numbers"),
        ({"query": np.array([["a"] * 3] * 2)}, "'query' holds <U1: embeddings are numbers"),
        ({"gallery_labels": np.array(["owl", "bee"])}, "'gallery_labels' holds text"),
        ({"query_paths": np.array([1, 2])}, "'query_paths' holds int64 (2,): paths are text"),
        ({"gallery_paths": np.array(["a"])}, "'gallery_paths' has 1 entries, but 'gallery' has 4 rows"),
    ],
    ids=lambda each: ",".join(each) if isinstance(each, dict) else "",
)
def test_wrong_arrays_of_an_npz(changed: Arrays, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_file(npz(tmp_path, **changed))
    assert sentence in str(caught.value)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["query", "gallery_labels", "query_paths"])
def test_pickled_members_are_refused_and_never_run(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    bomb = np.empty(2, dtype=object)
    bomb[:] = [Bomb(trace)] * 2
    with pytest.raises(DataError, match=f"Array '{name}' of .* holds pickled objects, which are never loaded"):
        read_file(npz(tmp_path, **{name: bomb}))
    assert not trace.exists()


def test_a_raw_pickle_in_a_zip_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    with zipfile.ZipFile(npz(tmp_path, query=None), "a") as archive:
        archive.writestr("query.npy", pickle.dumps(Bomb(trace)))
    with pytest.raises(DataError, match=r"Array 'query' of .* is no array in numpy's format"):
        read_file(tmp_path / "e.npz")
    assert not trace.exists()


def test_bfloat16(tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(array) for name, array in arrays().items()}
    save_torch_file({**tensors, "query": tensors["query"].bfloat16()}, tmp_path / "e.safetensors")
    with pytest.raises(DataError, match=r"Array 'query' of .* has numbers that numpy cannot hold: save float32"):
        read_file(tmp_path / "e.safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x04N.", b"PK\x03\x04 broken", b"12345678{broken" + b" " * 20]
)
def test_neither_format(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "e.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"is neither \.npz nor \.safetensors|is damaged"):
        read_file(tmp_path / "e.npz")


def test_a_file_cut_short(tmp_path: Path) -> None:
    for path in (npz(tmp_path), safetensors(tmp_path)):
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(DataError, match=str(path)):
            read_file(path)


def test_a_member_cut_short(tmp_path: Path) -> None:
    """The archive is whole, its array is not."""
    with zipfile.ZipFile(npz(tmp_path)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["gallery.npy"] = content["gallery.npy"][:-8]
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(DataError, match=r"Array 'gallery' of .* is damaged"):
        read_file(tmp_path / "e.npz")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_file(tmp_path / "nothing.npz")
    with pytest.raises(DataError, match=r"has no readable shards.json"):
        read_file(tmp_path)
