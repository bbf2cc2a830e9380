"""Every protocol against an independent restatement of its code, on seeded cases of every kind."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest

from bench.embeddings.arrays import Embeddings, ScoreMatrix
from bench.embeddings.binary_codes import fit, fit_published
from bench.errors import DataError
from bench.evaluation.protocol_scores import figures_of, rank_protocols, requested_protocols, without_refusing
from bench.evaluation.protocols.base import PROTOCOLS
from bench.types import Doubles, Floats
from tests.bench.evaluation.restatements import RULES, Formula, distances, figure

KINDS = ("balanced", "unbalanced", "raw", "512-d", "binary", "absent class", "few photos", "duplicates", "narrow cone")
# Adding eps orders photos of equal cosine by the sum of their coordinates, which float32 cannot tell from rounding.
UNDEFINED = {("zse-sbir", "binary"), ("baseline-fgsbir", "binary")}
REFUSED = {("sake", "absent class"), ("tcn-cvpr19", "few photos"), ("yelamarthi", "few photos")}


def case(kind: str, seed: int = 0) -> Embeddings:
    """A seeded case; the labels of queries are those of photos but for ``absent class``."""
    generator = np.random.default_rng([seed, KINDS.index(kind)])
    queries, photos, width, classes = 60, 120 if kind == "few photos" else 900, 512 if kind == "512-d" else 64, 7
    weights = np.geomspace(1, 20, classes) if kind == "unbalanced" else np.ones(classes)
    ql, gl = (generator.choice(classes, rows, p=weights / weights.sum()) for rows in (queries, photos))
    ql[:classes], gl[:classes] = range(classes), range(classes)
    centres = generator.standard_normal((classes, width))
    query, gallery = (centres[each] + 4 * generator.standard_normal((len(each), width)) for each in (ql, gl))
    if kind == "binary":
        query, gallery = query > 0, gallery > 0
    elif kind != "raw":
        query, gallery = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (query, gallery))
    if kind == "absent class":
        ql[::9] = classes
    if kind == "duplicates":
        gallery[450:], gl[450:] = gallery[:450], gl[:450]
    if kind == "narrow cone":
        axis = 7 * np.ones(width) / np.sqrt(width)
        query, gallery = query + axis, gallery + axis
    return Embeddings(query.astype(np.float32), gallery.astype(np.float32), ql, gl)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RULES)
def test_equals_its_restatement(name: str, kind: str) -> None:
    """Embeddings to 1e-6; the formula, given the same float32 scores, to 1e-12."""
    protocol, (how, rules) = PROTOCOLS.get(name), RULES[name]
    where = (how, kind, protocol.gallery == "diagonal")
    made, matrix, true_scores, own = scored(*where)
    if (name, kind) in REFUSED:
        with pytest.raises(DataError, match=f"Protocol {name} (needs|stops)"):
            rank_protocols(made, [protocol])
        return
    near = 1e-3 if (name, kind) in UNDEFINED else 1e-6
    for given, right, allowed in ((made, true_scores, near), (matrix, [own], 1e-12)):
        found = {
            f"{each.metric}@{each.average}": each.value
            for each in figures_of(rank_protocols(given, [protocol]), protocol)
        }
        for metric, (formula, mean) in rules.items():
            expected = [restated(formula, mean, *where, given is matrix, place) for place in range(len(right))]
            photos = made.gallery.shape[0]
            text = metric if metric.endswith("@classes") else f"{metric}@queries"
            if text not in found:  # divided by the photos: named after them
                text = text.replace("P@100", f"P@{min(100, photos)}").replace("P@200", f"P@{min(200, photos)}")
            assert found[text] == pytest.approx(
                np.clip(found[text], min(expected), max(expected)), abs=allowed, nan_ok=True
            )


@cache
def scored(how: str, kind: str, diagonal: bool) -> tuple[Embeddings, ScoreMatrix, list[Doubles], Doubles]:
    """A case, the matrix of its float32 scores, the scores in exact arithmetic, and those of the matrix."""
    made = case(kind)
    if diagonal:
        made = dataclasses.replace(made, gallery=made.gallery[:60], gallery_labels=made.query_labels.copy())
    exact = -distances(how, made.query.astype(np.float64), made.gallery.astype(np.float64))
    if kind in ("binary", "duplicates"):
        exact = np.round(exact, 9)  # equal where they are equal in exact arithmetic
    # BLAS may round the scores of two equal photos apart, by their place: each pair ties or does not.
    true_scores = [exact, exact - 1e-8 * (np.arange(exact.shape[1]) >= 450)] if kind == "duplicates" else [exact]
    matrix = ScoreMatrix(exact.astype(np.float32), made.query_labels, made.gallery_labels)
    return made, matrix, true_scores, matrix.scores.astype(np.float64)


@cache
def restated(formula: Formula, mean: str, how: str, kind: str, diagonal: bool, of_matrix: bool, place: int) -> float:
    """A figure that several protocols share."""
    made, _, true_scores, own = scored(how, kind, diagonal)
    return figure(formula, mean, own if of_matrix else true_scores[place], made.query_labels, made.gallery_labels)


def test_every_protocol_without_codes_is_restated() -> None:
    others = {"standard", "fine-grained", "sketch-lvm", "coprompt"}  # ours, and those of galleries drawn at random
    names = {name for name, each in PROTOCOLS.items() if each.codes == "none" and ".py" in each.source}
    assert names - RULES.keys() <= others | {"every-class"}


def published_itq(own: Doubles, both: list[Doubles]) -> list[Doubles]:
    """The fit of SEM-PCYC's code: codes of both sides, which ``own`` is one of."""
    centred = own - own.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(centred, rowvar=False), "U")
    axes = axes[:, np.argsort(values)[::-1]]
    on_axes = centred @ axes
    state = np.random.RandomState(50)
    rotation = np.linalg.svd(state.randn(own.shape[1], own.shape[1]))[0]
    for _ in range(50):
        bits = np.where(on_axes @ rotation >= 0, 1.0, -1.0)
        u, _, vh = np.linalg.svd(bits.T @ on_axes)
        rotation = vh @ u.T  # numpy's third result is V^H, used as if it were V
    return [(each - each.mean(axis=0)) @ axes @ rotation > 0 for each in both]


@pytest.mark.parametrize("on_gallery", [False, True])
def test_codes_of_published_itq(on_gallery: bool) -> None:
    made = case("raw")
    sides = [each.astype(np.float64) for each in (made.query, made.gallery)]
    expected = published_itq(sides[on_gallery], sides)
    found = fit_published(made, on_gallery=on_gallery).encode(made)
    for codes, theirs in ((found.query, expected[0]), (found.gallery, expected[1])):
        assert (codes == theirs).mean() > 0.9999


def test_the_loss_of_published_itq_does_not_fall() -> None:
    made = case("raw")

    def loss(projection: Doubles) -> float:
        rotated = (made.query - made.query.mean(axis=0, dtype=np.float64)) @ projection
        return float(((np.where(rotated > 0, 1, -1) - rotated) ** 2).mean())

    published = [loss(fit_published(made, iterations=rounds).projection) for rounds in (0, 50)]
    correct = [
        loss(fit(made.query, made.gallery, np.random.default_rng(0), iterations=rounds).projection)
        for rounds in (0, 50)
    ]
    assert published[1] > 0.99 * published[0]
    assert correct[1] < 0.97 * correct[0]


@pytest.mark.parametrize("name", ["dsn-itq", "tcn-itq"])
def test_some_codes_are_of_unit_vectors(name: str) -> None:
    made = case("raw")
    made = dataclasses.replace(made, query=made.query * 4, gallery=made.gallery / 8)  # exact in float32
    unit: list[Floats] = []
    for each in (made.query, made.gallery):
        lengths = np.linalg.norm(each.astype(np.float64), axis=1, keepdims=True)
        unit.append((each * (1 / lengths)).astype(np.float32))
    same = dataclasses.replace(made, query=unit[0], gallery=unit[1])
    protocol = PROTOCOLS.get(name)
    raw = dataclasses.replace(protocol, unit=False)
    first = figures_of(rank_protocols(made, [protocol]), protocol)
    second = figures_of(rank_protocols(same, [raw]), raw)
    assert [each.value for each in first] == [each.value for each in second]
    assert PROTOCOLS.get("sem-pcyc-itq").unit is False


def test_all_leaves_out_what_a_code_refuses(caplog: pytest.LogCaptureFixture) -> None:
    made = case("absent class")
    kept = without_refusing(made, requested_protocols(["all"], []), [])
    assert "sake" not in {each.name for each in kept}
    assert "zse-sbir" in {each.name for each in kept}
    assert "Left out: Protocol sake stops" in caplog.text


def test_a_query_without_photo_makes_some_means_nan() -> None:
    made = case("absent class")
    first, *_, last = figures_of(rank_protocols(made, [PROTOCOLS.get("acnet")]), PROTOCOLS.get("acnet"))
    assert math.isnan(first.value)
    assert last.value > 0
