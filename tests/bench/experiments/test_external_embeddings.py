"""Embeddings are compared with a split: by path, by numbers per class, without images by published counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets.base import DATASETS, Dataset
from bench.datasets.emoji import Emoji
from bench.datasets.published.published_counts import counts_of_split
from bench.embeddings.arrays import Embeddings
from bench.embeddings.files import EmbeddingFile
from bench.errors import DataError, UsageError
from bench.experiments.external_embeddings import unverified, verify
from bench.types import Labels, Split

WIDTH = 2


@pytest.fixture(scope="module")
def emoji() -> Dataset:
    return Emoji(Path())


@pytest.fixture(scope="module")
def split(emoji: Dataset) -> Split:
    return emoji.split()


def file(query_labels: Labels, gallery_labels: Labels, **paths: Sequence[str]) -> EmbeddingFile:
    """Vectors that tell which row they came from: [row, 1]."""
    query, gallery = (
        np.stack((np.arange(len(each)), np.ones(len(each))), axis=1).astype(np.float32)
        for each in (query_labels, gallery_labels)
    )
    return EmbeddingFile(
        Embeddings(query, gallery, query_labels, gallery_labels),
        **{name: tuple(each) for name, each in paths.items()},
    )


def labels(split: Split) -> tuple[Labels, Labels]:
    return split.test_labels(split.queries), split.test_labels(split.gallery)


def test_numbers_per_class_agree(emoji: Dataset, split: Split) -> None:
    found = verify(file(*labels(split)), emoji, None)
    assert (found.dataset, found.split, found.evidence, found.verified) == ("emoji", "emoji-93", "split", True)
    assert found.fingerprint == split.fingerprint
    assert found.split_of_rows is None
    assert found.caution == emoji.caution
    np.testing.assert_array_equal(found.embeddings.query[:, 0], np.arange(len(split.queries)))


def test_classes_may_be_numbered_otherwise(emoji: Dataset, split: Split) -> None:
    other = np.random.default_rng(0).permutation(5000)[: len(split.unseen)]
    query, gallery = (other[each] for each in labels(split))
    assert verify(file(query, gallery), emoji, "emoji-93").verified


@pytest.mark.parametrize("with_gallery", [False, True])
def test_paths_put_rows_into_the_order_of_the_split(emoji: Dataset, split: Split, with_gallery: bool) -> None:
    generator = np.random.default_rng(0)
    query, gallery = labels(split)
    q, g = generator.permutation(len(query)), generator.permutation(len(gallery))
    if not with_gallery:
        g = np.arange(len(gallery))
    paths = {"query_paths": [split.queries[row].path for row in q]}
    if with_gallery:
        paths["gallery_paths"] = [split.gallery[row].path for row in g]
    number = np.random.default_rng(1).permutation(500)  # classes numbered in a way of their own
    external = verify(file(number[query[q]], number[gallery[g]], **paths), emoji, None)
    assert (external.split_of_rows is not None) == with_gallery
    found = external.embeddings
    if not with_gallery:
        query, gallery = number[query], number[gallery]
    np.testing.assert_array_equal(found.query_labels, query)
    np.testing.assert_array_equal(found.gallery_labels, gallery)
    np.testing.assert_array_equal(q[found.query[:, 0].astype(int)], np.arange(len(query)))
    np.testing.assert_array_equal(g[found.gallery[:, 0].astype(int)], np.arange(len(gallery)))


def changed(split: Split, what: str) -> EmbeddingFile:
    query, gallery = labels(split)
    sketches, photos = [item.path for item in split.queries], [item.path for item in split.gallery]
    if what == "one query less":
        return file(query[1:], gallery)
    if what == "one photo of another class":
        return file(query, np.append(gallery[1:], gallery[-1]))
    if what == "a class that is not there":
        return file(query, np.append(gallery[1:], 4711))
    if what == "sides numbered differently":
        return file(query, gallery.max() - gallery)
    if what == "unknown path":
        return file(query, gallery, query_paths=["sketch/bat/1.png", *sketches[1:]])
    if what == "photo among the queries":
        return file(query, gallery, query_paths=[photos[0], *sketches[1:]])
    if what == "path twice":
        return file(query, gallery, gallery_paths=[photos[1], *photos[1:]])
    if what == "path missing":
        return file(query, gallery[1:], gallery_paths=photos[1:])
    swapped = query.copy()
    swapped[[0, -1]] = swapped[[-1, 0]]
    if what == "one label wrong":
        return file(swapped, gallery, query_paths=sketches)
    return file(query, split_in_two(gallery), query_paths=sketches, gallery_paths=photos)


def split_in_two(gallery: Labels) -> Labels:
    """The first class under two numbers."""
    return np.where(np.arange(len(gallery)) == 0, 4711, gallery)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("one query less", "Label 0 has 3 queries and 6 photos, but class 'alarm-clock' of split emoji-93 of emoji "),
        ("one photo of another class", "Label 0 has 4 queries and 5 photos, but class 'alarm-clock'"),
        ("a class that is not there", "The embeddings have 94 classes, split emoji-93 of emoji (gallery full) has 93"),
        ("sides numbered differently", "Label 0 has 4 queries and 4 photos, but class 'alarm-clock'"),
        ("unknown path", "Array 'query_paths' lists 'sketch/bat/1.png' (1 such paths), which split emoji-93"),
        ("photo among the queries", "Array 'query_paths' lists 'image/alarm-clock/"),
        ("path twice", "Array 'gallery_paths' lists 'image/alarm-clock/"),
        ("path missing", "Array 'gallery_paths' lacks 'image/alarm-clock/"),
        ("one label wrong", "By the paths, label 0 stands for class 'alarm-clock'"),
        ("one class under two numbers", "By the paths, label 0 stands for class 'alarm-clock'"),
    ],
)
def test_what_does_not_fit_is_told(emoji: Dataset, split: Split, what: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        verify(changed(split, what), emoji, None)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).count(". ") == 0
    assert unverified(changed(split, what), emoji, None).verified is False


@pytest.mark.parametrize("check", [verify, unverified])
def test_what_is_not_retrieval_by_class_is_no_run_of_a_split(check: Any, emoji: Dataset, split: Split) -> None:
    made = file(*labels(split)).embeddings
    groups = {"query_groups": made.query_labels, "gallery_groups": made.gallery_labels}
    for marks in ({"query_clusters": made.query_labels // 2}, groups):
        with pytest.raises(DataError, match="without --as"):
            check(EmbeddingFile(dataclasses.replace(made, **marks)), emoji, None)


def test_an_unknown_split(emoji: Dataset, split: Split) -> None:
    for check in (verify, unverified):
        with pytest.raises(UsageError, match=r"has no split 'emoji-92'\. Did you mean 'emoji-93'"):
            check(file(*labels(split)), emoji, "emoji-92")


def published(dataset: str, split: str, gallery: str) -> tuple[Labels, Labels]:
    """Labels with the published numbers of each class."""
    counts = counts_of_split(dataset, split, gallery)
    sketches, photos = zip(*counts.values(), strict=True)
    return np.repeat(np.arange(len(counts)), sketches), np.repeat(np.arange(len(counts)), photos)


def elsewhere(name: str, folder: Path, **settings: Any) -> Dataset:
    """A dataset whose images are not on this machine."""
    kind = DATASETS.get(name)
    return kind(folder, dataclasses.replace(kind.Settings(), **settings))


# PROTOCOLS.md, F: the sizes of the published lists.
@pytest.mark.parametrize(
    ("dataset", "split", "gallery", "queries", "photos"),
    [
        ("tuberlin", "tuberlin-30", "full", 2_400, 27_989),
        ("tuberlin", "tuberlin-30-sempcyc", "full", 2_400, 25_708),
        ("sketchy", "sketchy-25", "full", 15_229, 17_101),
        ("sketchy", "sketchy-25", "unique", 15_229, 14_601),
        ("sketchy", "sketchy-21", "full", 12_694, 12_553),
        ("sketchy", "sketchy-21", "unique", 12_694, 10_453),
        ("quickdraw", "quickdraw-30", "full", 92_291, 54_151),
    ],
)
def test_published_counts_serve_where_the_images_are_not_at_hand(
    dataset: str, split: str, gallery: str, queries: int, photos: int, tmp_path: Path
) -> None:
    query_labels, gallery_labels = published(dataset, split, gallery)
    assert (len(query_labels), len(gallery_labels)) == (queries, photos)
    found = verify(file(query_labels, gallery_labels), elsewhere(dataset, tmp_path), split)
    assert (found.evidence, found.gallery_name, found.split) == ("published counts", gallery, split)
    assert found.fingerprint.startswith("counts:")
    assert len(found.fingerprint) == 64


def test_two_galleries_of_one_split_have_two_fingerprints(tmp_path: Path) -> None:
    found = [
        verify(file(*published("sketchy", "sketchy-21", gallery)), elsewhere("sketchy", tmp_path), "sketchy-21")
        for gallery in ("full", "unique")
    ]
    assert found[0].fingerprint != found[1].fingerprint


def test_published_counts_that_differ(tmp_path: Path) -> None:
    query_labels, gallery_labels = published("tuberlin", "tuberlin-30", "full")
    with pytest.raises(DataError, match=r"split tuberlin-30 of tuberlin .* as published has 80 and"):
        verify(file(query_labels[1:], gallery_labels), elsewhere("tuberlin", tmp_path), None)
    with pytest.raises(DataError, match="gallery unique"):
        verify(
            file(*published("sketchy", "sketchy-21", "full")),
            elsewhere("sketchy", tmp_path, photos="unique"),
            "sketchy-21",
        )


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    """A dataset without published lists whose images are missing."""
    query = np.zeros(3, dtype=np.int64)
    with pytest.raises(DataError, match="There is no folder"):
        verify(file(query, query), elsewhere("folder", tmp_path, root=str(tmp_path / "none"), unseen="all"), None)


def test_damaged_images_are_not_replaced_by_published_counts(tmp_path: Path) -> None:
    """The data is there but damaged: the error names the damage."""
    for folder in ("png_ready", "ImageResized_ready"):
        for name in ("ant", "banana", "bread"):
            (tmp_path / "TUBerlin" / folder / name).mkdir(parents=True)
            (tmp_path / "TUBerlin" / folder / name / "1.png").touch()
    opened = elsewhere("tuberlin", tmp_path)
    if opened.whereabouts().root is None:
        pytest.fail("the tree is not recognised")
    with pytest.raises(DataError, match="classes"):
        verify(file(*published("tuberlin", "tuberlin-30", "full")), opened, None)


def test_paths_tell_the_instances_of_a_fine_grained_split(emoji: Dataset) -> None:
    split = emoji.split("emoji-93-fine-subgroup")
    shuffled = np.random.default_rng(0).permutation(len(split.queries))
    paths = [split.queries[row].path for row in shuffled], [item.path for item in split.gallery]
    own = np.zeros(len(split.queries), dtype=np.int64), np.zeros(len(split.gallery), dtype=np.int64)
    found = verify(file(*own, query_paths=paths[0], gallery_paths=paths[1]), emoji, split.name)
    assert found.relevance == "instance"
    assert found.split_of_rows is not None
    assert found.split_of_rows.clusters == split.clusters
    np.testing.assert_array_equal(found.embeddings.query[:, 0], np.argsort(shuffled))
    for name, expected in split.label_arrays().items():
        np.testing.assert_array_equal(getattr(found.embeddings, name), expected)
    for refused in (lambda: verify(file(*own), emoji, split.name), lambda: unverified(file(*own), emoji, split.name)):
        with pytest.raises(DataError, match=r"query_paths|leave out --unverified"):
            refused()
