"""Every declared protocol, and the rules that embeddings are scored by under them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bench.embeddings.arrays import Embeddings
from bench.errors import DataError, UsageError
from bench.evaluation.metrics.base import parse_metric
from bench.evaluation.protocol_scores import (
    Figure,
    chosen_metrics,
    every_protocol,
    figures_of,
    paired_gallery,
    rank_protocols,
    ranked_by,
    requested_protocols,
)
from bench.evaluation.protocols.base import PROTOCOLS, Protocol
from bench.evaluation.ranking import rank
from tests.bench.evaluation.clouds import clouds

CONTRACT = [
    "standard",
    "sake",
    "zse-sbir",
    "sem-pcyc",
    "doodle2search",
    "dsn",
    "tcn",
    "tcn-cvpr19",
    "yelamarthi",
    "acnet",
    "clipprompt",
    "icfrr",
    "sketch-lvm",
]
EXAMPLE = PROTOCOLS.get("standard")


def score_protocols(embeddings: Embeddings, protocols: list[Protocol], **options: Any) -> dict[str, list[Figure]]:
    rankings = rank_protocols(embeddings, protocols, **options)
    return {each.name: figures_of(rankings, each) for each in protocols}


def complete(queries: int, photos: int) -> Embeddings:
    """Every query has a relevant photo."""
    made = clouds(queries=queries, photos=photos, width=8)
    return dataclasses.replace(made, query_labels=made.query_labels % 9)


def test_all_promised_protocols_are_there() -> None:
    assert set(CONTRACT) <= set(PROTOCOLS.names())
    assert {each.name for each in every_protocol()} >= set(CONTRACT)
    assert all(each.codes == "none" for each in every_protocol())


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_a_declaration_explains_itself(name: str) -> None:
    protocol = PROTOCOLS.get(name)
    assert protocol.name == name
    for text in (protocol.summary, *protocol.notes):
        assert text.endswith((".", ")."))
    assert ".py" in protocol.source
    assert len(set(protocol.metrics)) == len(protocol.metrics) > 0


@pytest.mark.parametrize("name", PROTOCOLS.names())
def test_every_protocol_scores(name: str) -> None:
    protocol = PROTOCOLS.get(name)
    found = score_protocols(complete(250, 250), [protocol])[name]
    assert [f"{each.metric}@{each.average}" for each in found] == list(protocol.metrics)
    most = {"median-rank": 250}  # the others are shares
    assert all(0 <= each.value <= most.get(each.metric, 1) for each in found)
    assert all((each.queries, each.skipped) == (250, 0) for each in found)


def test_together_as_alone() -> None:
    """Protocols that share a pass, and those drawn at random, do not disturb one another."""
    embeddings = complete(250, 250)
    protocols = [PROTOCOLS.get(name) for name in PROTOCOLS.names()]
    together = score_protocols(embeddings, protocols, seed=3)
    assert list(together) == PROTOCOLS.names()
    for protocol in protocols:
        assert score_protocols(embeddings, [protocol], seed=3)[protocol.name] == together[protocol.name]


def test_progress_counts_all_passes() -> None:
    seen: list[tuple[int, int]] = []
    protocols = [PROTOCOLS.get(name) for name in ("standard", "sake", "sem-pcyc", "sketch-lvm")]
    score_protocols(complete(30, 50), protocols, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(30, 90), (60, 90), (90, 90)]


def test_empty_queries_count_zero_or_not_at_all() -> None:
    embeddings = clouds(queries=50, photos=200)
    plain = rank(embeddings, ["mAP@all:plain"])
    skipped, zero = (
        score_protocols(embeddings, [dataclasses.replace(EXAMPLE, name=rule, empty=rule)])[rule][0]
        for rule in ("skip", "zero")
    )
    assert skipped.value == pytest.approx(np.nanmean(plain.values))
    assert zero.value == pytest.approx(np.nansum(plain.values) / 50)


def test_a_paired_gallery_has_a_photo_of_the_class_of_each_query() -> None:
    embeddings = clouds(queries=100, photos=60)
    chosen = paired_gallery(embeddings, np.random.default_rng(0))
    has_photo = np.isin(embeddings.query_labels, embeddings.gallery_labels)
    np.testing.assert_array_equal(embeddings.gallery_labels[chosen], embeddings.query_labels[has_photo])
    np.testing.assert_array_equal(chosen, paired_gallery(embeddings, np.random.default_rng(0)))
    assert (chosen != paired_gallery(embeddings, np.random.default_rng(1))).any()
    drawn = [set(paired_gallery(embeddings, np.random.default_rng(seed)).tolist()) for seed in range(60)]
    assert len(set.union(*drawn)) > 50  # any photo of a class may come


def test_no_photo_to_pair_with() -> None:
    strangers = Embeddings(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), np.array([0, 1]), np.array([2, 3]))
    with pytest.raises(DataError, match="there is no photo to pair"):
        score_protocols(strangers, [PROTOCOLS.get("sketch-lvm")])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"metrics": ("mAP@200:min",)}, "needs @queries or @classes"),
        ({"distance": "manhattan"}, "is none of cosine, euclidean, hamming"),
        ({"gallery": "half"}, "is none of full, paired"),
        ({"empty": "drop"}, "is none of skip, zero"),
        ({"empty_precision": "drop"}, "is none of skip, zero"),
        ({"small": "drop"}, "is none of k, gallery, refuse"),
        ({"codes": "itq-test"}, "ranked by hamming alone"),
    ],
)
def test_a_declaration_that_contradicts_itself(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(EXAMPLE, **change)  # type: ignore[arg-type]


def test_figures_by_hamming_have_bounds_and_others_none() -> None:
    embeddings = clouds(queries=50, photos=300, width=8)
    codes = Embeddings(
        (embeddings.query > 0).astype(np.float32),
        (embeddings.gallery > 0).astype(np.float32),
        embeddings.query_labels,
        embeddings.gallery_labels,
    )
    own = chosen_metrics(["mAP@all:plain", "P@20:k@classes"], "hamming")
    plain, precision = score_protocols(codes, [own])[""]
    for figure in (plain, precision):
        for ties in ("pessimistic", "optimistic"):
            ranking = rank(codes, [figure.metric], distance="hamming", ties=ties)  # type: ignore[arg-type]
            assert getattr(figure, ties) == ranking.score(figure.metric, figure.average).value
    tied = rank(codes, ["mAP@all:tied"], distance="hamming").score("mAP@all:tied").value
    assert (plain.tied, precision.tied) == (tied, None)
    for figure in score_protocols(embeddings, [EXAMPLE])["standard"]:
        assert (figure.distance, figure.pessimistic, figure.optimistic, figure.tied) == ("cosine", None, None, None)


def test_another_distance_than_its_own() -> None:
    assert ranked_by(EXAMPLE, "euclidean").distance == "euclidean"
    assert ranked_by(PROTOCOLS.get("zse-sbir"), "euclidean").eps == 0
    assert ranked_by(PROTOCOLS.get("dsn-itq"), "hamming").codes == "itq-published"
    with pytest.raises(UsageError, match="dsn-itq ranks its own binary codes by hamming"):
        ranked_by(PROTOCOLS.get("dsn-itq"), "cosine")


def test_metrics_as_a_protocol() -> None:
    found = chosen_metrics(["mAP@07:min", "P@5:k@classes", "mAP@7:min@queries"])
    assert found.metrics == ("mAP@7:min@queries", "P@5:k@classes")
    (default,) = requested_protocols([], [])
    assert default.metrics[:2] == ("mAP@all:plain@queries", "mAP@all:plain@classes")


def test_an_unknown_protocol_names_its_nearest() -> None:
    with pytest.raises(UsageError, match=r"There is no protocol 'sem_pcyc'\. Did you mean 'sem-pcyc'\?"):
        PROTOCOLS.get("sem_pcyc")


def test_the_impossible_figure_of_a_readme() -> None:
    """mAP@200 above P@200 (ClipPrompt's README): never under `min` with R >= 200, easily under `hits`."""
    generator = np.random.default_rng(0)
    gallery = np.ones((1000, 1), np.float32)
    gallery[:, 0] = np.sort(generator.random(1000))[::-1] + 1
    labels = (generator.random(1000) < np.linspace(0.9, 0.1, 1000)).astype(np.int64)
    embeddings = Embeddings(np.full((1, 1), 3, np.float32), gallery, np.ones(1, np.int64), labels)
    found = rank(embeddings, ["mAP@200:hits", "mAP@200:min", "P@200:k"], distance="euclidean")
    hits, least, precision = (found.score(each).value for each in found.metrics)
    assert int(found.relevant[0]) >= 200
    assert least <= precision < hits


def test_protocols_hold_no_metric_twice_under_two_names() -> None:
    every: set[Protocol] = {PROTOCOLS.get(name) for name in PROTOCOLS.names()}
    assert all(str(parse_metric(text)) == text for each in every for text in each.metrics)
