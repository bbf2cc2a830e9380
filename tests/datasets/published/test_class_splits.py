"""The frozen class lists: equal to the published ones by hash, SEM-PCYC's equal to its draw."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from bench.datasets.base import DATASETS
from bench.datasets.published.class_splits import data_file, hash_of_classes, parse_class_split, read_class_split
from bench.errors import DataError
from tests.datasets.trees import SHARED

# SHA-256 of the sorted unseen classes, joined by line feeds: shared/protocols/PROTOCOLS.md A.1
UNSEEN = {
    "sketchy-25": "8e6c3d72376d8b256f068b4370bc7747dacf59ce2a03b9ca0250e9d8c45b115d",
    "sketchy-21": "e9111ba44e60f0c421e90167978c3aa5067206421046818501bafe4339a74a5a",
    "tuberlin-30": "7d3ea00d5cef647c69e4b58bc8ac21655534e403b60a177478555e1537f04c0a",
    "quickdraw-30": "9073b8bb3d87db643b00b7193e1c7e2108381b3806522b4dbf4439a00064073d",
}
SIZES = {
    "sketchy-25": (25, 100),
    "sketchy-21": (21, 104),
    "sketchy-25-sempcyc": (25, 100),
    "tuberlin-30": (30, 220),
    "tuberlin-30-sempcyc": (30, 220),
    "tuberlin-30-kdsbir": (30, 220),
    "quickdraw-30": (30, 80),
    "quickdraw-30-kdsbir": (30, 80),
}


@pytest.mark.parametrize("split", UNSEEN)
def test_unseen_lists_equal_the_published_ones_by_hash(split: str) -> None:
    names = read_class_split(split).unseen
    assert hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() == UNSEEN[split]


@pytest.mark.parametrize("split", SIZES)
def test_sizes_sources_and_disjointness(split: str) -> None:
    classes = read_class_split(split)
    assert (len(classes.unseen), len(classes.seen)) == SIZES[split]
    assert not set(classes.unseen) & set(classes.seen)
    assert classes.sources
    assert classes.title


@pytest.mark.parametrize("dataset", ["sketchy", "tuberlin", "quickdraw"])
def test_all_splits_of_a_dataset_are_of_the_same_classes(dataset: str) -> None:
    everything = {
        frozenset(read_class_split(split).seen + read_class_split(split).unseen)
        for split in DATASETS.get(dataset).split_names
        if not read_class_split(split).subset_of
    }
    assert len(everything) == 1


def test_labels_are_positions_in_the_published_order() -> None:
    classes = read_class_split("sketchy-25")
    assert classes.unseen[:3] == ("cup", "swan", "harp")
    assert classes.unseen[24] == "bell"
    assert read_class_split("tuberlin-30").unseen[14] == "hot air balloon"
    assert read_class_split("quickdraw-30").unseen[16] == "palm tree"


@pytest.mark.parametrize(
    ("ours", "theirs", "seen", "valid", "sizes"),
    [
        ("sketchy-25", "sketchy-25-sempcyc", 0.8, 0.1, (100, 12, 13)),
        ("tuberlin-30", "tuberlin-30-sempcyc", 0.88, 0.06, (220, 15, 15)),
    ],
)
def test_the_lists_of_sem_pcyc_are_its_draw(
    ours: str, theirs: str, seen: float, valid: float, sizes: tuple[int, int, int]
) -> None:
    def respelt(name: str) -> str:
        """As its download script renames the folders."""
        return name.replace(" ", "_").replace("-", "_")

    names = np.array(sorted(respelt(name) for name in read_class_split(ours).seen + read_class_split(ours).unseen))
    random = np.random.RandomState(0)
    trained = random.choice(names, int(seen * len(names)), replace=False)
    selected = random.choice(np.setdiff1d(names, trained), int(valid * len(names)), replace=False)
    tested = np.setdiff1d(names, np.union1d(trained, selected))
    assert (len(trained), len(selected), len(tested)) == sizes
    unseen = read_class_split(theirs).unseen
    assert {respelt(name) for name in unseen} == {*selected.tolist(), *tested.tolist()}
    assert list(unseen) == sorted(unseen)


def test_the_two_families_of_splits_are_far_apart() -> None:
    both = set(read_class_split("sketchy-25").unseen) & set(read_class_split("sketchy-25-sempcyc").unseen)
    assert both == {"bell", "squirrel", "tank", "wheelchair"}
    both = set(read_class_split("tuberlin-30").unseen) & set(read_class_split("tuberlin-30-sempcyc").unseen)
    assert both == {"rollerblades"}


def test_the_lists_of_kd_sbir_are_others() -> None:
    """Shared classes as counted from the repositories' lists."""
    for other, name, shared in (
        ("tuberlin-30", "tuberlin-30-kdsbir", 3),
        ("tuberlin-30-sempcyc", "tuberlin-30-kdsbir", 5),
        ("quickdraw-30", "quickdraw-30-kdsbir", 14),
    ):
        assert len(set(read_class_split(other).unseen) & set(read_class_split(name).unseen)) == shared


@pytest.mark.parametrize(
    ("old", "new"),
    [("\nbat\n", "\nbats\n"), ("\nbat\n", "\nbat\nbat\n"), ("\nbat\n", "\n"), ("# sha256-seen: ", "# sha256-sean: ")],
)
def test_an_altered_list_is_refused(old: str, new: str) -> None:
    text = data_file("sketchy-21.txt")
    assert parse_class_split("sketchy-21", text) == read_class_split("sketchy-21")
    with pytest.raises(DataError, match=r"datasets/splits/sketchy-21\.txt do not match their SHA-256"):
        parse_class_split("sketchy-21", text.replace(old, new, 1))


def test_a_missing_list_is_named() -> None:
    with pytest.raises(DataError, match=r"datasets/splits/sketchy-52\.txt is missing"):
        read_class_split("sketchy-52")


def test_the_hash_does_not_depend_on_the_order() -> None:
    assert hash_of_classes(["b", "ä"]) == hash_of_classes(["ä", "b"]) == hashlib.sha256("b\nä".encode()).hexdigest()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published lists are not beside the repository")
@pytest.mark.parametrize("split", UNSEEN)
def test_order_and_seen_classes_are_those_of_the_published_lists(split: str) -> None:
    published = json.loads((SHARED / "splits" / f"{split.replace('-', '')}.json").read_text())
    classes = read_class_split(split)
    assert list(classes.unseen) == published["unseen"]
    assert list(classes.seen) == published["seen"]
    assert hash_of_classes(classes.seen) == published["seen_sorted_sha256"]
