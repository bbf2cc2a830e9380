"""Shards: what is written is read, a folder is whole or refused, and each way of being wrong is a sentence."""

from __future__ import annotations

import errno
import json
import pickle
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.embeddings import shard_writer as shards
from bench.embeddings.arrays import Embeddings
from bench.embeddings.files import digest_of, read_embeddings
from bench.embeddings.shard_reader import open_shards, open_side
from bench.embeddings.shard_writer import ShardWriter, write_shards
from bench.errors import DataError, StorageError, UsageError
from bench.evaluation.metric_ids import DEFAULT_METRICS
from bench.evaluation.ranking import rank
from tests.bench.evaluation.clouds import clouds

EMBEDDINGS = clouds(queries=60, photos=1_000, width=8)


def written(folder: Path, embeddings: Embeddings = EMBEDDINGS, network: str = "net") -> Path:
    write_shards(folder, embeddings, network)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 37 rows of width 8."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 37 * 32)


@pytest.mark.usefixtures("small_shards")
def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = open_shards(written(tmp_path / "s"), deep=True)
    np.testing.assert_array_equal(found.query, EMBEDDINGS.query)
    np.testing.assert_array_equal(found.query_labels, EMBEDDINGS.query_labels)
    assert found.photos.shape == (1_000, 8)
    assert len(list((tmp_path / "s").glob("gallery-000-*.npy"))) == 2 * 28
    for begin, end in ((0, 1_000), (0, 37), (36, 38), (37, 74), (5, 5), (999, 1_000), (100, 700)):
        np.testing.assert_array_equal(found.photos.vectors(begin, end), EMBEDDINGS.gallery[begin:end])
        np.testing.assert_array_equal(found.photos.labels(begin, end), EMBEDDINGS.gallery_labels[begin:end])
    whole = read_embeddings(tmp_path / "s")
    np.testing.assert_array_equal(whole.embeddings.gallery, EMBEDDINGS.gallery)
    assert (whole.query_paths, whole.gallery_paths) == (None, None)


def test_rows_in_one_shard_are_mapped_and_not_copied(tmp_path: Path) -> None:
    rows = open_shards(written(tmp_path)).photos.vectors(10, 500)
    assert type(rows) is np.ndarray
    assert not rows.flags.owndata
    assert not rows.flags.writeable


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("block", [1, 36, 37, 500])
def test_blocks_and_parts_of_any_size_give_the_same_rows(block: int, tmp_path: Path) -> None:
    """Three processes that embed a third each; the last one is done first."""
    with ShardWriter(tmp_path, "query", network="net") as query:
        query.add(EMBEDDINGS.query, EMBEDDINGS.query_labels)
    bounds = [0, 300, 301, 1_000]
    for part in (2, 0, 1):
        with ShardWriter(tmp_path, "gallery", network="net", part=part, parts=3) as writer:
            for begin in range(bounds[part], bounds[part + 1], block):
                rows = slice(begin, min(begin + block, bounds[part + 1]))
                writer.add(EMBEDDINGS.gallery[rows], EMBEDDINGS.gallery_labels[rows])
    found = open_shards(tmp_path)
    np.testing.assert_array_equal(found.photos.vectors(0, 1_000), EMBEDDINGS.gallery)
    expected = rank(EMBEDDINGS, DEFAULT_METRICS, top=5)
    again = rank(found, DEFAULT_METRICS, top=5)
    np.testing.assert_array_equal(again.values, expected.values)
    np.testing.assert_array_equal(again.top, expected.top)


@pytest.mark.usefixtures("small_shards")
def test_paths_come_back(tmp_path: Path) -> None:
    paths = [f"photo/ä {row}.jpg" for row in range(1_000)]
    write_shards(tmp_path, EMBEDDINGS, "net", gallery_paths=paths)
    assert read_embeddings(tmp_path).gallery_paths == tuple(paths)
    assert open_side(tmp_path, "query").paths() is None


def test_numbers_of_any_kind_become_float32(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "query", network="net") as writer:
        writer.add(np.array([[True, False]]), np.array([3], dtype=np.uint8))
        writer.add(np.array([[2, 3]]), [4])
        writer.add(np.array([[0.5, 0.25]], dtype=np.float16), [5])
    side = open_side(tmp_path, "query")
    assert side.vectors(0, 3).tolist() == [[1, 0], [2, 3], [0.5, 0.25]]
    assert side.labels(0, 3).tolist() == [3, 4, 5]


def test_a_part_that_was_not_ended_is_not_there(tmp_path: Path, small_shards: None) -> None:
    written(tmp_path / "whole")

    def interrupted() -> None:
        with ShardWriter(tmp_path / "s", "gallery", network="net") as writer:
            writer.add(EMBEDDINGS.gallery, EMBEDDINGS.gallery_labels)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "s").iterdir()) == []
    killed = ShardWriter(tmp_path / "s", "gallery", network="net")  # as if the process were killed: nothing is closed
    killed.add(EMBEDDINGS.gallery, EMBEDDINGS.gallery_labels)
    with ShardWriter(tmp_path / "s", "query", network="net") as writer:
        writer.add(EMBEDDINGS.query, EMBEDDINGS.query_labels)
    with pytest.raises(DataError, match=r"has no shards of the gallery side: gallery-000.json is missing"):
        open_shards(tmp_path / "s")
    with ShardWriter(tmp_path / "s", "gallery", network="net") as writer:  # written again over what was left
        writer.add(EMBEDDINGS.gallery[:500], EMBEDDINGS.gallery_labels[:500])
    assert open_shards(tmp_path / "s", deep=True).photos.shape == (500, 8)


def test_a_full_disk_leaves_nothing(tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0

    def full(path: Path, content: memoryview, option: str) -> None:
        nonlocal done
        done += 1
        if done > 9:
            raise StorageError("File x cannot be written (No space left on device): free some space.")
        write_whole(path, content, option)

    write_whole = shards.write_whole
    monkeypatch.setattr(shards, "write_whole", full)
    with pytest.raises(StorageError), ShardWriter(tmp_path, "gallery", network="net") as writer:
        writer.add(EMBEDDINGS.gallery, EMBEDDINGS.gallery_labels)
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_file_sizes_is_a_sentence(tmp_path: Path) -> None:
    """The system's own refusal, not a made-up one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(StorageError, match=rf"{errno.EFBIG}|File too large"):
            written(tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "s").iterdir()) == []


Damage = Callable[[Path], object]


def replaced(name: str, old: str, new: str) -> Damage:
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new))


def other_array(name: str, array: object) -> Damage:
    """Another array, of which the manifest tells the size in bytes."""

    def damage(folder: Path) -> None:
        np.save(folder / name, array, allow_pickle=True)  # type: ignore[arg-type]
        manifest = folder / f"{name[:11]}.json"
        facts = json.loads(manifest.read_text())
        facts["shards"][0]["vectors"]["bytes"] = (folder / name).stat().st_size
        manifest.write_text(json.dumps(facts))

    return damage


def twice(folder: Path) -> None:
    """A manifest that tells of one shard two times."""
    facts = json.loads((folder / "gallery-000.json").read_text())
    facts |= {"shards": 2 * facts["shards"], "rows": 2 * facts["rows"]}
    (folder / "gallery-000.json").write_text(json.dumps(facts))


SHARD = "gallery-000-00000.npy"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / SHARD).unlink(), f"Shard {SHARD} is missing in"),
        (lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:-4]), "is cut off: it has 32124 b"),
        (lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes() + b"1"), "is altered: it has 32129"),
        (lambda folder: (folder / "gallery-000-00000.labels.npy").write_bytes(b""), "labels.npy in .* is cut off"),
        (replaced("query-000.json", '"net"', '"other"'), "the gallery is of network net, the queries of other"),
        (replaced("gallery-000.json", '"parts": 1', '"parts": 2'), "has 2 parts, but part 1 is missing"),
        (
            replaced("gallery-000.json", '"width": 8', '"width": 16'),
            r"float32 \(1000, 8\), but its manifest tells f.* 16",
        ),
        (replaced("gallery-000.json", '"rows": 1000', '"rows": 999'), r"its manifest tells float32 \(999, 8\)"),
        (replaced("gallery-000.json", '"version": 1', '"version": 2'), "were written by a newer version"),
        (replaced("gallery-000.json", '"bench shards"', '"other"'), "is no manifest of shards"),
        (replaced("gallery-000.json", '"shards": [', '"shards": [1,'), "is no manifest of shards"),
        (replaced("gallery-000.json", SHARD, f"../{SHARD}"), "is no manifest of shards"),
        (replaced("gallery-000.json", "{", ""), "is no manifest of shards"),
        (lambda folder: (folder / "gallery-000.json").write_text("[" * 100_000), "is no manifest of shards"),
        (
            replaced("gallery-000.json", '"parts": 1', '"parts": 1000000000'),
            r"is no manifest of shards \(part 0 of 1000",
        ),
        (
            replaced("gallery-000.json", '"side": "gallery"', '"side": "query"'),
            r"is no manifest of shards \(side query",
        ),
        (twice, r"is no manifest of shards \(a file twice"),
        (lambda folder: (folder / "query-000.json").unlink(), "has no shards of the query side"),
        (other_array(SHARD, np.zeros((1_000, 9), np.float32)), r"float32 \(1000, 9\), but its manifest tells"),
        (other_array(SHARD, np.zeros((1_000, 8))), "float64"),
        (other_array(SHARD, np.zeros((8, 1_000), np.float32).T), "is stored column by column"),
        (other_array(SHARD, np.array([{}], dtype=object)), "is damaged"),
    ],
)
def test_what_is_wrong_with_a_folder_is_a_sentence(damage: Damage, sentence: str, tmp_path: Path) -> None:
    written(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError, match=sentence) as caught:
        open_shards(tmp_path)
    assert caught.value.exit_code == 3
    assert str(caught.value).endswith(".")


def test_parts_of_two_networks_do_not_fit_together(tmp_path: Path) -> None:
    for part, network in enumerate(("net", "net", "another")):
        with ShardWriter(tmp_path, "gallery", network=network, part=part, parts=3) as writer:
            writer.add(np.ones((3, 4)), [0, 1, 2])
    with pytest.raises(DataError, match="part 2 of the gallery side is of network another, part 0 of net"):
        open_side(tmp_path, "gallery")


def test_a_changed_byte_is_found_when_it_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path)
    content = bytearray((tmp_path / SHARD).read_bytes())
    content[5_000] ^= 1
    (tmp_path / SHARD).write_bytes(content)
    open_shards(tmp_path)
    with pytest.raises(DataError, match=f"Shard {SHARD} in .* is altered: its SHA-256 is not the manifest's"):
        open_shards(tmp_path, deep=True)


def test_a_file_of_another_time_is_not_unpickled(tmp_path: Path) -> None:
    written(tmp_path)
    size = (tmp_path / SHARD).stat().st_size
    (tmp_path / SHARD).write_bytes(pickle.dumps(b"x" * 2 * size)[:size])
    with pytest.raises(DataError, match="is damaged"):
        open_shards(tmp_path)


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    one, same = (digest_of(written(tmp_path / name)) for name in "ab")
    other = Embeddings(EMBEDDINGS.query, EMBEDDINGS.gallery + 1, EMBEDDINGS.query_labels, EMBEDDINGS.gallery_labels)
    assert one == same != digest_of(written(tmp_path / "c", other))


@pytest.mark.parametrize(
    ("vectors", "labels", "paths", "sentence"),
    [
        (np.ones(3), [0, 1, 2], None, "Vectors are numbers"),
        (np.array([["a"]]), [0], None, "Vectors are numbers"),
        (np.ones((2, 3)), [0], None, r"one integer a row, not int64 \(1,\) for 2 rows"),
        (np.ones((1, 3)), [0.5], None, "one integer a row"),
        (np.ones((1, 3)), [-1], None, "integers from 0, not -1"),
        (np.ones((1, 4)), [0], None, "have width 4, those before 3"),
        (np.full((1, 3), np.nan), [0], None, "NaN or infinity, after 2 good rows"),
        (np.ones((1, 3)), [0], ["a"], "for some rows and not for others"),
        (np.ones((1, 3)), [0], ["a\nb"], "one line a row"),
        (np.ones((1, 3)), [0], [], "one line a row; there are 0 for 1"),
    ],
)
def test_rows_that_do_not_fit(
    vectors: np.ndarray,  # type: ignore[type-arg]
    labels: list[float],
    paths: list[str] | None,
    sentence: str,
    tmp_path: Path,
) -> None:
    writer = ShardWriter(tmp_path, "query", network="net")
    writer.add(np.ones((2, 3)), [0, 1])
    with pytest.raises(DataError, match=sentence):
        writer.add(vectors, labels, paths)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_makes_no_sense(tmp_path: Path) -> None:
    for settings, sentence in (
        ({"side": "galery"}, "There is no side 'galery'. Did you mean 'gallery'?"),
        ({"part": 2, "parts": 2}, "Part 2 of 2 does not exist"),
        ({"network": " "}, "one line of text, not by ' '"),
    ):
        with pytest.raises(UsageError) as caught:
            ShardWriter(tmp_path, **{"side": "gallery", "network": "net", **settings})  # type: ignore[arg-type]
        assert sentence in str(caught.value)
    with ShardWriter(tmp_path / "ended", "query", network="net") as ended:
        ended.add(np.ones((2, 3)), [0, 1])
    with pytest.raises(UsageError, match="Part 0 of the query side is ended"):
        ended.add(np.ones((2, 3)), [0, 1])
    with pytest.raises(DataError, match="no rows to write"), ShardWriter(tmp_path, "query", network="net"):
        pass
    written(tmp_path)
    with pytest.raises(UsageError, match=r"query-000.json exists: remove it"):
        written(tmp_path)
