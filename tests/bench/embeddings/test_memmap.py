"""Folders of embeddings larger than memory rank as in memory, are complete or refused, and damage is a sentence."""

from __future__ import annotations

import dataclasses
import json
import pickle
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.embeddings import memmap
from bench.embeddings.arrays import Embeddings
from bench.embeddings.files import EmbeddingFile, digest_of, read_file, write_shards
from bench.embeddings.memmap import ShardWriter, open_shards
from bench.errors import DataError, StorageError, UsageError
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.ranking import rank
from tests.bench.evaluation.clouds import clouds

EMBEDDINGS = clouds(queries=60, photos=1_000, width=8)
SHARD = "gallery-00000.npy"


def write(folder: Path, embeddings: Embeddings = EMBEDDINGS, block: int = 1_000, paths: bool = False) -> Path:
    with ShardWriter(folder) as writer:
        writer.add("query", embeddings.query, embeddings.query_labels)
        for begin in range(0, len(embeddings.gallery), block):
            rows = slice(begin, begin + block)
            names = [f"photo/ä {row}.jpg" for row in range(1_000)[rows]] if paths else None
            writer.add("gallery", embeddings.gallery[rows], embeddings.gallery_labels[rows], names)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 37 rows of width 8."""
    monkeypatch.setattr(memmap, "SHARD_BYTES", 37 * 32)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("block", [1, 36, 37, 1_000])
def test_blocks_of_any_size_are_read_and_ranked_as_in_memory(block: int, tmp_path: Path) -> None:
    streamed = open_shards(write(tmp_path, block=block, paths=block == 36), deep=True)
    assert len(list(tmp_path.glob("gallery-*.npy"))) == 28
    assert streamed.gallery.shape == (1_000, 8)
    for begin, end in ((0, 1_000), (0, 37), (36, 38), (37, 74), (5, 5), (999, 1_000), (100, 700)):
        np.testing.assert_array_equal(streamed.gallery[begin:end], EMBEDDINGS.gallery[begin:end])
        np.testing.assert_array_equal(streamed.gallery_labels[begin:end], EMBEDDINGS.gallery_labels[begin:end])
    expected, ranking = (rank(each, DEFAULT_METRICS, top=5) for each in (EMBEDDINGS, streamed))
    np.testing.assert_array_equal(ranking.values, expected.values)
    np.testing.assert_array_equal(ranking.top, expected.top)
    whole = read_file(tmp_path)
    np.testing.assert_array_equal(whole.embeddings.gallery, EMBEDDINGS.gallery)
    assert whole.query_paths is None
    assert whole.gallery_paths == (tuple(f"photo/ä {n}.jpg" for n in range(1_000)) if block == 36 else None)


@pytest.mark.usefixtures("small_shards")
def test_clusters_and_groups_rank_as_in_memory(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    marks = {name: generator.integers(0, 3, rows) for name, rows in (("query_clusters", 60), ("query_groups", 60))}
    held = dataclasses.replace(EMBEDDINGS, **marks, gallery_groups=generator.integers(0, 3, 1_000))
    write_shards(tmp_path, EmbeddingFile(held))
    expected, ranking = (rank(each, DEFAULT_METRICS, top=5) for each in (held, open_shards(tmp_path, deep=True)))
    for name in ("values", "clusters", "top", "hits"):
        np.testing.assert_array_equal(getattr(ranking, name), getattr(expected, name))
    for field in dataclasses.fields(held):
        np.testing.assert_array_equal(getattr(read_file(tmp_path).embeddings, field.name), getattr(held, field.name))
    with pytest.raises(UsageError, match="Only queries have clusters"):
        ShardWriter(tmp_path / "b").add("gallery", np.ones((2, 3)), [0, 1], clusters=[0, 1])


def test_rows_in_one_file_are_mapped_and_not_copied(tmp_path: Path) -> None:
    rows = open_shards(write(tmp_path)).gallery[10:500]
    assert type(rows) is np.ndarray
    assert not rows.flags.owndata
    assert not rows.flags.writeable


def test_numbers_of_any_kind_become_float32(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        writer.add("query", np.array([[True, False]]), np.array([3], dtype=np.uint8))
        writer.add("query", np.array([[2, 3]]), [4])
        writer.add("query", [], [])
        writer.add("query", np.array([[0.5, 0.25]], dtype=np.float16), [5])
    side = memmap.open_side(tmp_path, "query")
    assert side[""][:].tolist() == [[1, 0], [2, 3], [0.5, 0.25]]
    assert side["_labels"][:].tolist() == [3, 4, 5]


@pytest.mark.usefixtures("small_shards")
def test_a_folder_that_was_not_finished_is_refused_and_can_be_written_again(tmp_path: Path) -> None:
    def interrupt() -> None:
        with ShardWriter(tmp_path) as writer:
            writer.add("gallery", EMBEDDINGS.gallery, EMBEDDINGS.gallery_labels)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert list(tmp_path.iterdir()) == []
    killed = ShardWriter(tmp_path)  # as if the process were killed: nothing is closed
    killed.add("gallery", EMBEDDINGS.gallery, EMBEDDINGS.gallery_labels)
    with pytest.raises(DataError, match="was not written to the end"):
        open_shards(tmp_path)
    assert open_shards(write(tmp_path), deep=True).gallery.shape == (1_000, 8)
    with pytest.raises(UsageError, match=r"shards\.json exists"):
        write(tmp_path)


def test_a_disk_that_takes_no_more_leaves_nothing(tmp_path: Path) -> None:
    """The system's own refusal: no file may grow beyond 10,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


Damage = Callable[[Path], object]


def replace(old: str, new: str) -> Damage:
    return lambda folder: (folder / "shards.json").write_text((folder / "shards.json").read_text().replace(old, new, 1))


def other_array(array: object) -> Damage:
    return lambda folder: np.save(folder / SHARD, array, allow_pickle=True)  # type: ignore[arg-type]


def before_version_2(folder: Path) -> None:
    """The names of the format of version 0.1.0."""
    (folder / "shards.json").rename(folder / "gallery-000.json")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / SHARD).unlink(), f"{SHARD} cannot be read"),
        (lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:-4]), f"{SHARD} is damaged"),
        (lambda folder: (folder / "gallery_labels-00000.npy").write_bytes(b""), "labels-00000.npy is damaged"),
        (lambda folder: (folder / SHARD).write_bytes(pickle.dumps(b"x" * 40_000)), f"{SHARD} is damaged"),
        (other_array(np.zeros((1_000, 9), np.float32)), r"float32 \(1000, 9\) in place of"),
        (other_array(np.zeros((1_000, 8))), "float64"),
        (other_array(np.zeros((8, 1_000), np.float32).T), "by rows"),
        (other_array(np.array([{}], dtype=object)), f"{SHARD} is damaged"),
        (before_version_2, "or by an earlier version"),
        (lambda folder: (folder / "shards.json").unlink(), "not written to the end"),
        (lambda folder: (folder / "shards.json").write_text("[" * 100_000), "json is damaged"),
        (replace('"width": 8', '"width": 16'), r"\(60, 8\) in place of <f4 \(60, 16\)"),
        (replace('"width": 8', '"width": "8"'), "json is damaged"),
        (replace('"version": 2', '"version": 3'), "format 3, not 2"),
        (replace('"rows": 1000', '"rows": 999'), r"\(1000, 8\) in place of <f4 \(999, 8\)"),
        (replace('"rows": 1000', '"rows": 1000.0'), "json is damaged"),
        (replace('"gallery": [', '"gallery": [1,'), "json is damaged"),
        (replace('"query": [', '"query": [], "other": ['), "no rows of the query side"),
        (replace("{", ""), "json is damaged"),
    ],
)
def test_what_is_wrong_with_a_folder_is_a_sentence(damage: Damage, sentence: str, tmp_path: Path) -> None:
    damage(write(tmp_path))
    with pytest.raises(DataError, match=sentence) as caught:
        open_shards(tmp_path)
    assert caught.value.exit_code == 3
    assert str(caught.value).endswith(".")


def test_a_changed_byte_is_found_by_a_deep_check(tmp_path: Path) -> None:
    content = bytearray((write(tmp_path) / SHARD).read_bytes())
    content[5_000] ^= 1
    (tmp_path / SHARD).write_bytes(content)
    open_shards(tmp_path)
    with pytest.raises(DataError, match=f"{SHARD} is damaged .its SHA-256"):
        open_shards(tmp_path, deep=True)
    (tmp_path / SHARD).write_bytes((write(tmp_path / "b") / SHARD).read_bytes())
    for each in (facts := json.loads((tmp_path / "shards.json").read_text()))["gallery"]:
        del each["sha256"][""]
    (tmp_path / "shards.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="is damaged"):
        open_shards(tmp_path, deep=True)


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    one, same = (digest_of(write(tmp_path / name)) for name in "ab")
    other = Embeddings(EMBEDDINGS.query, EMBEDDINGS.gallery + 1, EMBEDDINGS.query_labels, EMBEDDINGS.gallery_labels)
    assert one == same != digest_of(write(tmp_path / "c", other))


@pytest.mark.parametrize(
    ("vectors", "labels", "paths", "sentence"),
    [
        (np.ones(3), [0, 1, 2], None, r"must be \[rows, width\]"),
        (np.array([["a"]]), [0], None, "embeddings are numbers"),
        (np.ones((2, 3)), [0], None, r"has shape \(1,\), but 'query' has 2 rows"),
        (np.ones((1, 3)), [0.5], None, "labels are integers from 0"),
        (np.ones((1, 3)), [-1], None, "labels are integers from 0"),
        (np.ones((1, 4)), [0], None, r"one width \(3\)"),
        (np.full((1, 3), np.nan), [0], None, "NaN or infinity, first in row 0"),
        (np.ones((1, 3)), [0], ["a"], "each or none"),
    ],
)
def test_rows_that_do_not_fit(
    vectors: np.ndarray,  # type: ignore[type-arg]
    labels: list[float],
    paths: list[str] | None,
    sentence: str,
    tmp_path: Path,
) -> None:
    writer = ShardWriter(tmp_path)
    writer.add("query", np.ones((2, 3)), [0, 1])
    with pytest.raises(DataError, match=sentence):
        writer.add("query", vectors, labels, paths)
    with pytest.raises(DataError, match="each or none"):
        writer.add("gallery", np.ones((2, 3)), [0, 1], ["a"])
    with pytest.raises(UsageError, match="Did you mean 'gallery'"):
        writer.add("galery", np.ones((2, 3)), [0, 1])  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
