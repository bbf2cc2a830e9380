"""Embeddings that another program made, compared with the split that they are said to be of.

Compared are the sketches and photos of each class and, with paths, which row is which image. Labels may number the
classes in any way. ``external_run`` scores and stores these embeddings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.datasets.base import Dataset
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.published_counts import counts_of_split
from bench.embeddings.arrays import Embeddings
from bench.embeddings.files import EmbeddingFile
from bench.errors import DataError, UsageError, nearest
from bench.io import digest_of_json
from bench.types import Item, Labels, Relevance, Split

Pair = tuple[int, int]  # queries and photos of a class
UNVERIFIED = "unverified"


@dataclass(frozen=True)
class ExternalEmbeddings:
    """Embeddings and their split. Rows follow the split where the file has paths.

    ``evidence`` is what they were compared with. ``fingerprint`` is the split's, ``counts:`` and a hash of the
    published counts if the images are missing, or ``unverified``. ``split_of_rows`` is the split if both sides have
    paths, so that its images are known to be the rows.
    """

    embeddings: Embeddings
    dataset: str
    split: str
    gallery_name: str
    fingerprint: str
    evidence: Literal["split", "published counts", "none"]
    caution: str
    split_of_rows: Split | None = None

    @property
    def relevance(self) -> Relevance:
        """What the split finds relevant."""
        return self.split_of_rows.relevance if self.split_of_rows else "class"

    @property
    def verified(self) -> bool:
        """Whether the embeddings were compared with the split."""
        return self.evidence != "none"


def verify(file: EmbeddingFile, dataset: Dataset, split_name: str | None) -> ExternalEmbeddings:
    """Compare embeddings with the images of a split, or without images with the published counts of each class.

    Raises DataError where numbers per class differ, a path is unknown, missing or listed twice, or nothing is there to
    compare with; UsageError for an unknown split.
    """
    name = split_name or dataset.split_names[0]
    fine_grained = dataset.relevance_of(name) == "instance"
    if not fine_grained:
        _check_category_level(file.embeddings)
    try:
        split = dataset.split(split_name)
    except DataError:
        where, published = dataset.whereabouts(), None
        if where.root is None and not where.layout and not fine_grained:  # otherwise the images are there but damaged
            published = _compare_with_published(file, dataset, name)
        if published is None:
            raise
        return published
    title = f"split {split.name} of {split.dataset} (gallery {split.gallery_name})"
    rows_known = file.query_paths is not None and file.gallery_paths is not None
    if fine_grained and not rows_known:
        raise DataError(
            f"The {title} is fine-grained, so each row must name its image: add 'query_paths' and 'gallery_paths' as "
            "`bench data list` writes them."
        )
    embeddings = _in_order(file, split, title)
    if rows_known:  # they are the images of the split, each once
        embeddings = Embeddings(embeddings.query, embeddings.gallery, **split.label_arrays())
    else:
        queries, photos = (Counter(item.class_name for item in items) for items in (split.queries, split.gallery))
        expected = {name: (queries[name], photos[name]) for name in split.clusters if queries[name] or photos[name]}
        if difference := _difference(embeddings, expected, title):
            raise DataError(f"{difference}: {_cure(split.dataset, split.name)}")
    about = split.dataset, split.name, split.gallery_name, split.fingerprint
    return ExternalEmbeddings(embeddings, *about, "split", dataset.caution, split if rows_known else None)


def unverified(file: EmbeddingFile, dataset: Dataset, split_name: str | None) -> ExternalEmbeddings:
    """Embeddings without a comparison; raises UsageError for an unknown split, DataError for a fine-grained one."""
    name = split_name or dataset.split_names[0]
    if name.partition(":")[0] not in dataset.split_names:
        raise UsageError(f"Dataset {dataset.name!r} has no split {name!r}. {nearest(name, dataset.split_names)}")
    if dataset.relevance_of(name) == "instance":
        raise DataError(f"Only the images of split {name!r} tell the true photos: leave out --unverified.")
    _check_category_level(file.embeddings)
    return ExternalEmbeddings(file.embeddings, dataset.name, name, UNVERIFIED, UNVERIFIED, "none", dataset.caution)


def _check_category_level(embeddings: Embeddings) -> None:
    """DataError unless relevant means the same class, and every query sees every photo."""
    if embeddings.query_groups is not None or (embeddings.clusters != embeddings.query_labels).any():
        raise DataError(
            "Splits of datasets are for retrieval by class, and the file has clusters or groups of its own: "
            "score it without --as."
        )


def _compare_with_published(file: EmbeddingFile, dataset: Dataset, split_name: str) -> ExternalEmbeddings | None:
    """The embeddings compared with published counts; None unless these cover every unseen class of the split.

    Sketchy has two galleries: the one of the settings, or the one that fits.
    """
    if split_name not in dataset.split_names or not counts_of_split(dataset.name, split_name):
        return None
    wanted = getattr(dataset.settings, "photos", "auto")
    galleries = (read_class_split(split_name).gallery_name, "full", "unique") if wanted == "auto" else (wanted,)
    differences = []
    for gallery_name in dict.fromkeys(galleries):
        counts = counts_of_split(dataset.name, split_name, gallery_name)
        expected = {name: (q, p) for name, (q, p) in counts.items() if q is not None and p is not None}
        if len(expected) < len(counts):
            return None
        title = f"split {split_name} of {dataset.name} (gallery {gallery_name}) as published"
        differences.append(_difference(file.embeddings, expected, title))
        if not differences[-1]:
            digest = digest_of_json([dataset.name, split_name, gallery_name, expected])
            about = dataset.name, split_name, gallery_name, f"counts:{digest[:57]}"
            return ExternalEmbeddings(file.embeddings, *about, "published counts", dataset.caution)
    raise DataError(f"{differences[0]}: {_cure(dataset.name, split_name)}")


def _in_order(file: EmbeddingFile, split: Split, title: str) -> Embeddings:
    """The embeddings, with the rows of each side that has paths in the split's order.

    Raises DataError where the file's labels of these images are not one to one with classes; those of a fine-grained
    split do not count.
    """
    arrays: dict[str, Any] = {}
    compared: list[Labels] = []  # int64 [2, rows]: the file's label of each image, and the split's
    for side, items in {"query": split.queries, "gallery": split.gallery}.items():
        vectors, labels = getattr(file.embeddings, side)[:], getattr(file.embeddings, f"{side}_labels")[:]
        if (paths := getattr(file, f"{side}_paths")) is not None:
            rows = _rows(paths, items, f"{side}_paths", title)
            vectors, labels = vectors[rows], labels[rows]
            compared.append(np.stack((labels, split.test_labels(items))))
        arrays |= {side: vectors, f"{side}_labels": labels}
    if compared and split.relevance == "class":
        _check_numbering(np.concatenate(compared, axis=1), split, title)
    return Embeddings(**arrays)


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
    pairs = np.unique(compared, axis=1).T.tolist()
    labels, classes = (Counter(side) for side in zip(*pairs, strict=True))
    for label, truth in pairs:
        if labels[label] > 1 or classes[truth] > 1:
            raise DataError(
                f"By the paths, label {label} stands for class {(split.unseen + split.seen)[truth]!r} of {title}, but "
                "not for it alone or not everywhere: give every class one number on both sides."
            )


def _difference(embeddings: Embeddings, expected: Mapping[str, Pair], title: str) -> str:
    """The first class whose number of queries or photos differs, without a full stop; empty if none does."""
    queries, photos = Counter(embeddings.query_labels.tolist()), Counter(embeddings.gallery_labels[:].tolist())
    found = {label: (queries[label], photos[label]) for label in sorted(queries.keys() | photos.keys())}
    if sorted(found.values()) == sorted(expected.values()):
        return ""
    if len(found) != len(expected):
        return f"The embeddings have {len(found)} classes, {title} has {len(expected)}"
    label, name = next((i, name) for i, name in zip(found, expected, strict=True) if found[i] != expected[name])
    return (
        f"Label {label} has {found[label][0]} queries and {found[label][1]} photos, but class {name!r} of {title} has "
        f"{expected[name][0]} and {expected[name][1]}"
    )


def _cure(dataset: str, split: str) -> str:
    return f"embed exactly what `bench data list {dataset} --split {split}` names, or store it so with --unverified."
