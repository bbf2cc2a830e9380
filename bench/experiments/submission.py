"""Check that embeddings are those of a split.

Compared are the sketches and photos of each class and, with paths, which row is which image. Labels may number the
classes in any way.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.datasets.base import Dataset
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.published_counts import counts_of_split
from bench.embeddings.arrays import Embeddings
from bench.embeddings.files import EmbeddingFile
from bench.errors import DataError, UsageError, nearest
from bench.types import Item, Labels, Split

Evidence = Literal["split", "published counts", "none"]
Pair = tuple[int, int]  # queries and photos of a class
UNVERIFIED = "unverified"


@dataclass(frozen=True)
class Submission:
    """Embeddings and their split.

    Rows follow the split where the file has paths. ``evidence`` is what they were compared with. ``fingerprint`` is the
    split's, ``counts:`` and a hash of the published counts if the images are missing, or ``unverified``. ``classes``
    name the labels if both sides have paths.
    """

    embeddings: Embeddings
    dataset: str
    split: str
    gallery_name: str
    fingerprint: str
    evidence: Evidence
    caution: str
    classes: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether the embeddings were compared with the split."""
        return self.evidence != "none"


def verify(file: EmbeddingFile, dataset: Dataset, split_name: str | None) -> Submission:
    """Compare embeddings with the images of a split, or without images with the published counts of each class.

    Raises DataError where numbers per class differ, a path is unknown, missing or listed twice, or nothing is there to
    compare with; UsageError for an unknown split.
    """
    _check_category_level(file.embeddings)
    try:
        split = dataset.split(split_name)
    except DataError:
        where = dataset.whereabouts()
        published = None
        if where.root is None and not where.layout:  # otherwise the images are there but damaged
            published = _published(file, dataset, split_name or dataset.split_names[0])
        if published is None:
            raise
        return published
    title = f"split {split.name} of {split.dataset} (gallery {split.gallery_name})"
    embeddings = _in_order(file, split, title)
    found, expected = _pairs_in(embeddings), _pairs_of(split)
    if sorted(found.values()) != sorted(expected.values()):
        raise DataError(f"{_difference(found, expected, title)}: {_cure(split.dataset, split.name)}")
    classes: tuple[str, ...] = ()
    if file.query_paths is not None and file.gallery_paths is not None:
        own, classes = [split.test_labels(items) for items in (split.queries, split.gallery)], split.unseen + split.seen
        embeddings = Embeddings(embeddings.query, embeddings.gallery, *own)
    about = split.dataset, split.name, split.gallery_name, split.fingerprint
    return Submission(embeddings, *about, "split", dataset.caution, classes)


def unverified(file: EmbeddingFile, dataset: Dataset, split_name: str | None) -> Submission:
    """Embeddings without a comparison; raises UsageError for an unknown split."""
    _check_category_level(file.embeddings)
    name = split_name or dataset.split_names[0]
    if name.partition(":")[0] not in dataset.split_names:
        raise UsageError(f"Dataset {dataset.name!r} has no split {name!r}. {nearest(name, dataset.split_names)}")
    return Submission(file.embeddings, dataset.name, name, UNVERIFIED, UNVERIFIED, "none", dataset.caution)


def _check_category_level(embeddings: Embeddings) -> None:
    """DataError unless relevant means the same class, and every query sees every photo."""
    if embeddings.query_groups is not None or (embeddings.clusters != embeddings.query_labels).any():
        raise DataError(
            "Splits of datasets are for retrieval by class, and the file has clusters or groups of its own: "
            "score it without --as."
        )


def _published(file: EmbeddingFile, dataset: Dataset, split_name: str) -> Submission | None:
    """The submission compared with published counts; None unless they cover every unseen class of the split.

    Sketchy has two galleries: the one of the settings, or the one that fits.
    """
    if split_name not in dataset.split_names or not counts_of_split(dataset.name, split_name):
        return None
    own = read_class_split(split_name).gallery_name
    wanted = getattr(dataset.settings, "photos", "auto")
    found = _pairs_in(file.embeddings)
    differences = []
    for gallery_name in dict.fromkeys((own, "full", "unique") if wanted == "auto" else (wanted,)):
        counts = counts_of_split(dataset.name, split_name, gallery_name)
        expected = {name: (q, p) for name, (q, p) in counts.items() if q is not None and p is not None}
        if len(expected) < len(counts):
            return None
        if sorted(found.values()) == sorted(expected.values()):
            text = json.dumps([dataset.name, split_name, gallery_name, expected], sort_keys=True)
            about = dataset.name, split_name, gallery_name, f"counts:{hashlib.sha256(text.encode()).hexdigest()[:57]}"
            return Submission(file.embeddings, *about, "published counts", dataset.caution)
        title = f"split {split_name} of {dataset.name} (gallery {gallery_name}) as published"
        differences.append(_difference(found, expected, title))
    raise DataError(f"{differences[0]}: {_cure(dataset.name, split_name)}")


def _in_order(file: EmbeddingFile, split: Split, title: str) -> Embeddings:
    """The embeddings, with the rows of each side that has paths in the split's order."""
    given = file.embeddings
    sides = {"query": (given.query, given.query_labels), "gallery": (given.gallery, given.gallery_labels)}
    compared: list[Labels] = []  # int64 [2, rows]: the file's label of each image, and the split's
    of_split = (("query", file.query_paths, split.queries), ("gallery", file.gallery_paths, split.gallery))
    for side, paths, items in of_split:
        if paths is not None:
            rows, (vectors, labels) = _rows(paths, items, f"{side}_paths", title), sides[side]
            sides[side] = vectors[rows], labels[rows]
            compared.append(np.stack((labels[rows], split.test_labels(items))))
    if compared:
        _check_numbering(np.concatenate(compared, axis=1), split, title)
    (query, query_labels), (gallery, gallery_labels) = sides.values()
    return Embeddings(query, gallery, query_labels, gallery_labels)


def _rows(paths: Sequence[str], items: Sequence[Item], array: str, title: str) -> Labels:
    """The file's row of each image of the split, int64 [items]; DataError unless both have the same images."""
    row_of: dict[str, int] = {}
    for row, path in enumerate(paths):
        if row_of.setdefault(path, row) != row:
            raise DataError(f"Array {array!r} lists {path!r} twice: embed every image of {title} once.")
    unknown = sorted(row_of.keys() - {item.path for item in items})
    if unknown:
        raise DataError(
            f"Array {array!r} lists {unknown[0]!r} ({len(unknown)} such paths), which {title} does not have there: "
            "write paths as `bench data list` does."
        )
    missing = [item.path for item in items if item.path not in row_of]
    if missing:
        raise DataError(
            f"Array {array!r} lacks {missing[0]!r} ({len(missing)} such images) of {title}: embed them, too."
        )
    return np.array([row_of[item.path] for item in items], dtype=np.int64)


def _check_numbering(compared: Labels, split: Split, title: str) -> None:
    """DataError unless labels and classes are one to one; ``compared`` is int64 [2, images], as in ``_in_order``."""
    names = split.unseen + split.seen
    pairs = [(int(label), names[truth]) for label, truth in np.unique(compared, axis=1).T]
    labels, classes = Counter(label for label, _ in pairs), Counter(name for _, name in pairs)
    for label, name in pairs:
        if labels[label] > 1 or classes[name] > 1:
            raise DataError(
                f"By the paths, label {label} stands for class {name!r} of {title}, but not for it alone or not "
                "everywhere: give every class one number on both sides."
            )


def _pairs_of(split: Split) -> dict[str, Pair]:
    """Queries and photos of each class that has any, in the order of the labels."""
    queries, photos = (Counter(item.class_name for item in items) for items in (split.queries, split.gallery))
    return {name: (queries[name], photos[name]) for name in split.unseen + split.seen if queries[name] or photos[name]}


def _pairs_in(embeddings: Embeddings) -> dict[int, Pair]:
    """Queries and photos of each label, labels ascending."""
    queries, photos = Counter(embeddings.query_labels.tolist()), Counter(embeddings.gallery_labels.tolist())
    return {label: (queries[label], photos[label]) for label in sorted(queries.keys() | photos.keys())}


def _difference(found: Mapping[int, Pair], expected: Mapping[str, Pair], title: str) -> str:
    """The first difference, without a full stop."""
    if len(found) != len(expected):
        return f"The embeddings have {len(found)} classes, {title} has {len(expected)}"
    label, name = next(
        (label, name) for label, name in zip(found, expected, strict=True) if found[label] != expected[name]
    )
    (queries, photos), (sketches, images) = found[label], expected[name]
    return (
        f"Label {label} has {queries} queries and {photos} photos, but class {name!r} of {title} has {sketches} and "
        f"{images}"
    )


def _cure(dataset: str, split: str) -> str:
    return f"embed exactly what `bench data list {dataset} --split {split}` names, or store it so with --unverified."
