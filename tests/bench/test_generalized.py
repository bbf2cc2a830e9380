"""The named galleries of generalized retrieval: who joins, in which numbers, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.datasets.base import DATASETS
from bench.datasets.published.class_splits import read_class_split
from bench.errors import DataError, UsageError
from bench.evaluation.protocols.base import PROTOCOLS, name_over, protocol_of
from bench.generalized import GALLERIES, RULES, extend
from bench.reports.base import Options
from bench.results.store import Store
from bench.types import Item, Split
from tests.reports.filling import CLASSES, fill, report


def made(seen: int, unseen: int, sketches: int = 5, photos: int = 10) -> Split:
    """A split of equal classes."""
    names = [f"class {number}" for number in range(seen + unseen)]

    def items(classes: list[str]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
        found = [
            tuple(Item(f"{kind}/{name}/{n}", name, kind) for name in classes for n in range(count))
            for kind, count in (("sketch", sketches), ("photo", photos))
        ]
        return found[0], found[1]

    train, test = items(names[unseen:]), items(names[:unseen])
    return Split("made", "made", tuple(names[unseen:]), tuple(names[:unseen]), (*train[0], *train[1]), (), *test)


def added(split: Split, gallery: str) -> tuple[list[Item], list[Item]]:
    found = extend(split, gallery)
    assert found.train == split.train  # but for "all"
    assert found.queries[: len(split.queries)] == split.queries
    assert found.gallery[: len(split.gallery)] == split.gallery
    return list(found.queries[len(split.queries) :]), list(found.gallery[len(split.gallery) :])


@pytest.mark.parametrize(
    ("gallery", "split", "classes"),
    [
        ("ocean", "sketchy-25", 5),
        ("ocean", "tuberlin-30", 6),
        ("dr-clip", "sketchy-21", 21),
        ("dr-clip", "tuberlin-30", 44),
    ],
)
def test_whole_classes_join_in_the_printed_numbers(gallery: str, split: str, classes: int) -> None:
    known = read_class_split(split)
    sketches, photos = added(made(len(known.seen), len(known.unseen), 2, 3), gallery)
    assert len({item.class_name for item in sketches}) == classes
    assert {item.class_name for item in photos} == {item.class_name for item in sketches}
    assert (len(sketches), len(photos)) == (2 * classes, 3 * classes)


def test_images_join_as_a_share_of_the_unseen_ones() -> None:
    split = made(20, 10)
    for gallery, share in (("sem-pcyc", 0.2), ("amf", 1.0)):
        sketches, photos = added(split, gallery)
        assert (len(sketches), len(photos)) == (share * len(split.queries), share * len(split.gallery))
        assert len({item.class_name for item in photos}) > 5  # spread over the classes
    sketches, photos = added(split, "all-seen")
    assert (len(sketches), len(photos)) == (0, 200)


@pytest.mark.parametrize("gallery", RULES)
def test_a_draw_depends_on_names_alone(gallery: str) -> None:
    split = made(20, 10)
    turned = replace(split, train=split.train[::-1], seen=split.seen[::-1])
    assert [set(each) for each in added(split, gallery)] == [set(each) for each in added(turned, gallery)]
    assert extend(split, gallery).fingerprint == extend(turned, gallery).fingerprint != split.fingerprint
    assert extend(split, gallery).limited(1).gallery  # a smoke run


def test_galleries_are_for_splits_by_class_with_seen_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ocean"):
        extend(made(5, 5), "ocaen")
    with pytest.raises(UsageError, match="fine-grained"):
        extend(DATASETS.get("emoji")(tmp_path).split("emoji-93-fine"), "ocean")
    with pytest.raises(DataError, match="no seen photos"):
        extend(made(0, 5), "all-seen")


@pytest.mark.parametrize("gallery", GALLERIES)
def test_the_name_of_a_protocol_tells_its_gallery(gallery: str) -> None:
    for name in PROTOCOLS.names():
        assert protocol_of(name_over(name, gallery)) == (PROTOCOLS.get(name), None if gallery == "unseen" else gallery)


def test_tables_add_seen_and_unseen_queries_and_their_harmonic_mean(store: Store) -> None:
    configuration = {"run": {"lr": 1e-4}, "method": {"margin": 0.3}, "seen_tested": list(CLASSES[:2])}
    fill(store, key="g", level=0.5, gallery="ocean", configuration=configuration)
    (table,) = report(store, "main", options=Options(published=False)).tables
    assert "protocol generalized-ocean-standard" in table.title
    seen, unseen, harmonic = (float(cell) for cell in table.rows[0][-3:])
    assert table.columns[-3:] == tuple(f"mAP@all:plain {each}" for each in ("seen", "unseen", "harmonic mean"))
    assert seen > unseen  # the first classes are easier
    assert harmonic == pytest.approx(2 * seen * unseen / (seen + unseen), abs=1e-3)
    assert float(table.rows[0][2]) == pytest.approx((2 * seen + 3 * unseen) / 5, abs=1e-3)
