"""Re-ranking after ICFRR against its definition written as plain loops in float64, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.embeddings.arrays import Embeddings
from bench.evaluation.ranking import rank
from bench.evaluation.reranking import Icfrr, neighbours, votes
from bench.settings.post_processing import PostProcessing
from bench.types import Floats
from tests.bench.evaluation.clouds import clouds


def on_circle(*degrees: float) -> Floats:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def gallery_of(vectors: Floats) -> Embeddings:
    labels = np.zeros(len(vectors), dtype=np.int64)
    return Embeddings(vectors, vectors, labels, labels)


def test_neighbours_by_hand() -> None:
    """Four photos on a circle, the photo itself left out."""
    found = neighbours(gallery_of(on_circle(0, 10, 30, 21)), 2)
    assert found.tolist() == [[1, 3], [0, 3], [3, 1], [2, 1]]
    every = neighbours(gallery_of(on_circle(0, 10, 30, 20)), 10)
    assert every.shape == (4, 3)


def test_copies_of_a_photo_do_not_put_it_among_its_own_neighbours() -> None:
    found = neighbours(gallery_of(on_circle(0, 0, 0, 0, 90)), 2)
    assert found.shape == (5, 2)
    assert all(photo not in row for photo, row in enumerate(found.tolist()))


def test_votes_by_hand() -> None:
    """Five photos, two voters: photo 0 votes for [1, 2], photo 3 for [2, 4]; weights 1 - rank / 4."""
    table = np.array([[1, 2], [0, 2], [0, 1], [2, 4], [0, 3]], dtype=np.int32)
    found = votes(table, np.array([0, 3], dtype=np.int32))
    np.testing.assert_allclose(found, [0, 1 / 2, (0.75 + 1) / 2, 0, 0.75 / 2])


def test_a_query_by_hand() -> None:
    """Photos at 0, 40, 50 and 60 degrees, the query at 18: photo 0 is nearest (18 against 22), but the three others
    are each other's neighbours and outvote it.
    """
    gallery, query = on_circle(0, 40, 50, 60), on_circle(18)
    settings = PostProcessing(rerank="icfrr", rerank_gallery=2, rerank_queries=4, rerank_weight=1.0, rerank_passes=1)
    cosines = (query @ gallery.T).astype(np.float32)
    assert np.argsort(-cosines[0]).tolist() == [0, 1, 2, 3]
    # Votes: 0 for 1, 2; 1 for 2, 3; 2 for 1 and 3 (equally near); 3 for 2, 1. Weights 1 and 2/3, four voters.
    gains = np.array([0, (1 + 1 + 2 / 3) / 4, (2 / 3 + 1 + 1) / 4, (2 / 3 + 2 / 3) / 4])
    distances = -2 * np.sin(np.deg2rad([18, 22, 32, 42]) / 2)
    Icfrr(gallery_of(gallery), settings)(cosines)
    assert np.argsort(-cosines[0], kind="stable").tolist() == np.argsort(-(distances + gains), kind="stable").tolist()
    assert np.argsort(-cosines[0]).tolist()[0] == 1


def reference(cosines: np.ndarray, gallery: Embeddings, settings: PostProcessing) -> list[list[int]]:
    """Orders of the gallery for each query, by the definition: loops, float64, no shared code."""
    photos = len(gallery.gallery)
    unit = gallery.gallery.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    among = unit @ unit.T
    nearest = []
    for photo in range(photos):
        others = [other for other in range(photos) if other != photo]
        others.sort(key=lambda other: (-among[photo, other], other))
        nearest.append(others[: settings.rerank_gallery])
    orders = []
    for row in cosines.astype(np.float64):
        order = sorted(range(photos), key=lambda photo: (-row[photo], photo))
        places = [-np.sqrt(max(0.0, 2 - 2 * row[photo])) for photo in order]
        for _ in range(settings.rerank_passes):
            voters = order[: settings.rerank_queries]
            gained = []
            for photo in order:
                total = 0.0
                for voter in voters:
                    if photo in nearest[voter]:
                        total += 1 - nearest[voter].index(photo) / (photos - 1)
                gained.append(total / len(voters))
            scores = [place + settings.rerank_weight * gain for place, gain in zip(places, gained, strict=True)]
            ranked = sorted(range(photos), key=lambda place: (-scores[place], place))
            order = [order[place] for place in ranked]
        orders.append(order)
    return orders


@pytest.mark.parametrize(("near", "voters", "weight", "passes"), [(8, 10, 0.5, 1), (20, 15, 0.5, 5), (256, 250, 2, 3)])
def test_against_plain_loops(near: int, voters: int, weight: float, passes: int) -> None:
    found = clouds(queries=6, photos=60, width=8, classes=4)
    settings = PostProcessing(
        rerank="icfrr", rerank_gallery=near, rerank_queries=voters, rerank_weight=weight, rerank_passes=passes
    )
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (found.query, found.gallery)]
    cosines = (unit[0] @ unit[1].T).astype(np.float32)
    expected = reference(cosines, found, settings)
    Icfrr(found, settings)(cosines)
    assert np.argsort(-cosines, axis=1, kind="stable").tolist() == expected


def test_the_engine_ranks_by_the_new_scores() -> None:
    found = clouds(queries=20, photos=120, width=8, classes=4)
    settings = PostProcessing(rerank="icfrr", rerank_gallery=10, rerank_queries=12)
    plain = rank(found, ["mAP@all:plain"], top=120)
    again = rank(found, ["mAP@all:plain"], top=120, rescore=Icfrr(found, settings))
    one = rank(found, ["mAP@all:plain"], top=120, rescore=Icfrr(found, settings), threads=1)
    assert (again.top != plain.top).any()
    np.testing.assert_array_equal(np.sort(again.top, axis=1), np.tile(np.arange(120), (20, 1)))
    np.testing.assert_array_equal(again.values, one.values)
