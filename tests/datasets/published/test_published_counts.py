"""Published counts: the tables by class, the totals of the splits and the arithmetic between them agree."""

from __future__ import annotations

import pytest

from bench.datasets.base import DATASETS
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.published_counts import class_counts, counts_of_split, variants
from bench.types import Modality

# (queries, gallery full, gallery unique): shared/protocols/PROTOCOLS.md A.2 and F
TOTALS = {
    "sketchy-25": (15_229, 17_101, 14_601),
    "sketchy-21": (12_694, 12_553, 10_453),
    "sketchy-25-sempcyc": (14_421, None, 14_626),
    "tuberlin-30": (2_400, 27_989, 27_989),
    "tuberlin-30-sempcyc": (2_400, 25_708, 25_708),
    "quickdraw-30": (92_291, 54_151, 54_151),
}


@pytest.mark.parametrize("split", TOTALS)
def test_counts_by_class_add_up_to_the_published_totals(split: str) -> None:
    dataset = split.partition("-")[0]
    queries, *galleries = TOTALS[split]
    published = read_class_split(split).published
    assert published["queries"] == queries
    for name, total in zip(("full", "unique"), galleries, strict=True):
        counts = counts_of_split(dataset, split, name)
        assert tuple(counts) == read_class_split(split).unseen
        assert sum(found or 0 for found, _ in counts.values()) == queries
        if total is not None:
            assert sum(found or 0 for _, found in counts.values()) == total
        assert published.get(f"gallery_{name}", total) == total


@pytest.mark.parametrize("dataset", ["sketchy", "tuberlin", "quickdraw"])
def test_the_tables_know_every_class(dataset: str) -> None:
    classes = read_class_split(DATASETS.get(dataset).split_names[0])
    assert sorted(class_counts(dataset)) == sorted(classes.seen + classes.unseen)


@pytest.mark.parametrize("split", ["sketchy-25", "sketchy-21"])
def test_training_images_of_sketchy_add_up(split: str) -> None:
    counts = class_counts("sketchy")
    published = read_class_split(split).published
    seen = read_class_split(split).seen
    assert sum(counts[name].sketches or 0 for name in seen) == (
        published["train_sketches"] + published["validation_sketches"]
    )
    for gallery in ("full", "unique"):
        total = sum(counts[name].gallery(gallery) or 0 for name in seen)
        assert total == published[f"train_photos_{gallery}"]


def test_all_of_sketchy() -> None:
    counts = class_counts("sketchy").values()
    assert sum(each.sketches or 0 for each in counts) == 75_481
    assert sum(each.photos or 0 for each in counts) == 73_002
    assert sum(each.repeated_photos or 0 for each in counts) == 12_500


@pytest.mark.parametrize(
    ("dataset", "modality", "count", "words"),
    [
        ("tuberlin", "photo", 204_070, "the smaller copy"),
        ("tuberlin", "photo", 204_489, "most papers print"),
        ("tuberlin", "sketch", 20_000, "80 sketches"),
        ("sketchy", "photo", 73_002, "EXTEND alone"),
        ("sketchy", "photo", 85_502, "gallery full"),
    ],
)
def test_copies_known_by_name(dataset: str, modality: Modality, count: int, words: str) -> None:
    (found,) = [each for each in variants(dataset) if (each.modality, each.count) == (modality, count)]
    assert words in found.name
    assert found.evidence in ("lists", "print")


def test_a_dataset_of_ones_own_has_no_published_counts() -> None:
    assert class_counts("mine") == {}
    assert counts_of_split("mine", "all-12345678") == {}
    assert variants("mine") == ()
