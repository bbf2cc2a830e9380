"""Overlap with ImageNet: the table follows its rules."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

import pytest

from bench.datasets.checks.imagenet_overlap import WORDNET_ID, count_imagenet_photos, find_overlaps, imagenet_names
from bench.datasets.published.class_names import QUALIFIER, key
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.published_counts import table
from bench.types import Item
from tests.datasets.trees import SHARED

DATASETS_AND_SPLITS = {"sketchy": "sketchy-25", "tuberlin": "tuberlin-30", "quickdraw": "quickdraw-30"}
HOMONYMS = {  # the ImageNet class is another thing of the same name
    ("harp", "n03494278"),
    ("mouse", "n03793489"),
    ("crane", "n02012849"),
    ("ear", "n13133613"),
    ("head", "n09399592"),
    ("hedgehog", "n02346627"),
}


def rows(dataset: str, evidence: str) -> dict[tuple[str, str], str]:
    return {
        (row["class_name"], row["wnid"]): row["photos"]
        for row in table("imagenet_overlap.csv")
        if (row["dataset"], row["evidence"]) == (dataset, evidence)
    }


@cache
def by_lemma() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in table("imagenet-1k.csv"):
        for lemma in row["lemmas"].split(","):
            found[key(lemma)].append(row["wnid"])
    return found


@pytest.mark.parametrize("dataset", DATASETS_AND_SPLITS)
def test_classes_by_name_and_by_sketchy_follow_the_rule(dataset: str) -> None:
    classes = read_class_split(DATASETS_AND_SPLITS[dataset])
    settled = set(rows(dataset, "file names"))
    by_name = {}
    for name in classes.seen + classes.unseen:
        short = QUALIFIER.sub("", name).strip()
        ids = [wnid for wnid in by_lemma().get(key(short), []) if (short, wnid) not in HOMONYMS]
        by_name.update({(name, wnid): "" for wnid in ids if (name, wnid) not in settled})
    assert rows(dataset, "name") == by_name
    settled |= set(by_name)
    expected = {
        (name, wnid): photos
        for name in classes.seen + classes.unseen
        for (other, wnid), photos in rows("sketchy", "file names").items()
        if key(QUALIFIER.sub("", name)) == key(QUALIFIER.sub("", other)) and (name, wnid) not in settled
    }
    assert rows(dataset, "file names of sketchy") == expected


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published lists are not beside the repository")
@pytest.mark.parametrize(
    ("dataset", "start", "names"),
    [
        ("sketchy", "EXTEND", [f"Sketchy/zeroshot1/all_photo_filelist_{role}.txt.gz" for role in ("train", "zero")]),
        ("tuberlin", "ImageResized", ["TUBerlin/zeroshot/ImageResized_ready_filelist_zero.txt.gz"]),
    ],
)
def test_classes_by_file_names_are_those_of_the_published_lists(dataset: str, start: str, names: list[str]) -> None:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for name in names:
        text = gzip.decompress((SHARED / "filelists/buptLinfy+ZSE-SBIR/datasets" / name).read_bytes()).decode()
        for class_name, wnid in re.findall(rf"^{start}[^/]*/([^/]+)/(n\d{{8}})_", text, flags=re.MULTILINE):
            counts[class_name, wnid] += wnid in imagenet_names()
    expected = {pair: str(count) for pair, count in counts.items() if count}
    assert rows(dataset, "file names") == expected


def test_the_thousand_classes() -> None:
    assert len(imagenet_names()) == 1000
    assert imagenet_names()["n02391049"] == "zebra"
    assert all(WORDNET_ID.fullmatch(wnid) or re.fullmatch(r"n\d{8}", wnid) for wnid in imagenet_names())


def test_overlaps_come_in_the_order_of_the_classes() -> None:
    found = find_overlaps("sketchy", ["umbrella", "bell", "tree"])
    assert list(dict.fromkeys(each.class_name for each in found)) == ["umbrella", "bell"]
    assert {each.imagenet_name for each in found} >= {"umbrella", "chime"}
    assert find_overlaps("mine", ["umbrella"]) == ()


@pytest.mark.parametrize(
    ("paths", "count"),
    [
        (["photo/zebra/n02391049_17.jpg", "photo/x/n02391049.jpg", "photo/x/ext_1.jpg"], 1),
        (["n07753592_7382.JPEG", "photo/horse/n02374451_1.jpg"], 1),  # the horse's id is none of the thousand
        ([], 0),
    ],
)
def test_photos_named_after_imagenet_classes(paths: Iterable[str], count: int) -> None:
    assert count_imagenet_photos(Item(path, "x", "photo") for path in paths) == count
