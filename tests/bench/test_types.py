from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.embeddings.arrays import Embeddings
from bench.errors import DataError
from bench.types import Item, Split


def item(path: str, class_name: str) -> Item:
    return Item(path, class_name, "sketch" if path.startswith("s") else "photo")


def split() -> Split:
    return Split(
        dataset="tiny",
        name="tiny-1",
        seen=("cat", "dog"),
        unseen=("ant",),
        train=(item("s1", "cat"), item("p1", "cat"), item("s2", "dog"), item("p2", "dog")),
        validation=(),
        queries=(item("s3", "ant"), item("s4", "ant")),
        gallery=(item("p3", "ant"),),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unseen": ("ant", "cat")}, "class 'cat' is both seen and unseen"),
        ({"train": (item("s3", "ant"),)}, "train holds s3 of class 'ant'"),
        ({"gallery": (item("s9", "ant"),)}, "gallery holds s9, which is no photo"),
        ({"queries": (item("p9", "ant"),)}, "queries holds p9, which is no sketch"),
        ({"gallery": (item("p1", "ant"),)}, "p1 is listed twice"),
        ({"gallery": ()}, "no queries or no gallery"),
    ],
)
def test_a_split_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(split(), **change)  # type: ignore[arg-type]


def test_the_fingerprint_depends_on_every_role_and_on_content_but_not_on_order() -> None:
    one = split()
    assert one.fingerprint == replace(one, queries=one.queries[::-1]).fingerprint
    others = [
        replace(one, content="sha256:1"),
        replace(one, queries=one.queries[:1]),
        replace(one, train=one.train[:3], validation=one.train[3:]),
        replace(one, gallery=(item("p4", "ant"),)),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_unseen_classes_have_the_first_test_labels() -> None:
    one = split()
    assert one.test_labels([item("s", "ant"), item("s", "dog")]).tolist() == [0, 2]
    assert one.train_labels(one.train).tolist() == [0, 0, 1, 1]


def test_a_limited_split_keeps_the_first_of_every_class_role_and_modality() -> None:
    limited = split().limited(1)
    assert [each.path for each in limited.queries] == ["s3"]
    assert [each.path for each in limited.train] == ["s1", "p1", "s2", "p2"]


def arrays() -> dict[str, np.ndarray]:
    return {
        "query": np.ones((2, 3), np.float32),
        "gallery": np.ones((4, 3), np.float32),
        "query_labels": np.array([0, 1]),
        "gallery_labels": np.array([0, 0, 1, 1]),
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("query", np.ones((0, 3), np.float32), "Array 'query' must be"),
        ("gallery", np.ones(3, np.float32), "Array 'gallery' must be"),
        ("gallery", np.ones((4, 2), np.float32), "width 3, 'gallery' has width 2"),
        ("query_labels", np.array([0]), "Array 'query_labels' has shape"),
        ("gallery_labels", np.array([0, 0, 1, -1]), "Array 'gallery_labels' holds -1"),
        (
            "query",
            np.array([[0, 0, 0], [0, np.nan, 0]], np.float32),
            "Array 'query' holds NaN or infinity, first in row 1",
        ),
        ("gallery", np.full((4, 3), np.inf, np.float32), "Array 'gallery' holds NaN or infinity, first in row 0"),
    ],
)
def test_embeddings_that_cannot_rank_are_refused(name: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Embeddings(**{**arrays(), name: value})


def test_huge_but_finite_embeddings_pass() -> None:
    huge = np.full((2, 3), 3e38, np.float32)
    assert Embeddings(**{**arrays(), "query": huge}).query is huge


def test_tuning_holds_unseen_classes_out_of_the_seen_ones() -> None:
    seen = tuple(f"class {number}" for number in range(8))
    train = tuple(item(f"{side}/{name}/{i}", name) for name in seen for side in ("sketch", "photo") for i in range(2))
    whole = replace(split(), seen=seen, train=train)
    tuning = whole.for_tuning("tiny-1:tuning")
    assert len(tuning.unseen) == 2
    assert sorted((*tuning.unseen, *tuning.seen)) == sorted(seen)
    assert set(tuning.train) | set(tuning.queries) | set(tuning.gallery) == set(train)
    assert len(tuning.queries) == len(tuning.gallery) == 4
    assert set(tuning.unseen) == set(replace(whole, seen=seen[::-1]).for_tuning("again").unseen)
