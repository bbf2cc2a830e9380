"""Binary codes: what the fit must achieve, and that the honest fit sees no test vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.embeddings.arrays import Embeddings
from bench.embeddings.binary_codes import Itq, fit
from bench.errors import DataError
from bench.evaluation.ranking import rank
from bench.types import Doubles
from tests.bench.evaluation.clouds import clouds


def fit_on_test(embeddings: Embeddings, generator: np.random.Generator, **options: Any) -> Itq:
    return fit(embeddings.query, embeddings.gallery, generator, **options)


def quantisation_error(model: Itq, embeddings: Embeddings) -> float:
    """Mean squared difference between the rotated vectors and their signs."""
    rotated: Doubles = (embeddings.query - model.sketch_mean) @ model.projection
    return float(((np.where(rotated > 0, 1, -1) - rotated) ** 2).mean())


def test_projection_is_a_rotation_of_the_axes() -> None:
    model = fit_on_test(clouds(width=24), np.random.default_rng(0))
    np.testing.assert_allclose(model.projection.T @ model.projection, np.eye(24), atol=1e-10)


def test_fewer_bits_keep_the_leading_axes() -> None:
    embeddings = clouds(width=24)
    model = fit_on_test(embeddings, np.random.default_rng(0), bits=6)
    centred = embeddings.query - embeddings.query.mean(axis=0, dtype=np.float64)
    values = np.linalg.eigvalsh(centred.T @ centred)
    kept = np.linalg.norm(centred @ model.projection) ** 2
    assert kept == pytest.approx(values[-6:].sum())


def test_iterations_lessen_the_error() -> None:
    embeddings = clouds(width=24)
    errors = [
        quantisation_error(
            fit(embeddings.query, embeddings.gallery, np.random.default_rng(0), iterations=rounds), embeddings
        )
        for rounds in (0, 1, 5, 50)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_codes_are_the_signs_about_each_sides_mean() -> None:
    embeddings = clouds(width=16)
    model = fit_on_test(embeddings, np.random.default_rng(0))
    codes = model.encode(embeddings)
    for vectors, code in ((embeddings.query, codes.query), (embeddings.gallery, codes.gallery)):
        expected = (vectors - vectors.mean(axis=0, dtype=np.float64)) @ model.projection > 0
        np.testing.assert_array_equal(code, expected.astype(np.float32))
    np.testing.assert_array_equal(codes.query_labels, embeddings.query_labels)


def test_codes_retrieve() -> None:
    embeddings = clouds(width=64)
    codes = fit_on_test(embeddings, np.random.default_rng(0)).encode(embeddings)
    metric = "mAP@all:tied"
    real = rank(embeddings, [metric]).score(metric).value
    binary = rank(codes, [metric], distance="hamming").score(metric).value
    assert 0.6 * real < binary < real


def test_a_seed_decides() -> None:
    embeddings = clouds(width=16)
    one, same, other = (fit_on_test(embeddings, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.projection, same.projection)
    assert (one.projection != other.projection).any()


def test_the_honest_fit_knows_the_training_set_alone() -> None:
    training, test = clouds(seed=1, width=16), clouds(seed=2, width=16)
    model = fit(training.query, training.gallery, np.random.default_rng(0))
    np.testing.assert_array_equal(model.photo_mean, training.gallery.mean(axis=0, dtype=np.float64))
    # A photo's code does not depend on which other photos are in the gallery.
    half = Embeddings(test.query, test.gallery[:10], test.query_labels, test.gallery_labels[:10])
    np.testing.assert_array_equal(model.encode(test).gallery[:10], model.encode(half).gallery)


def test_fewer_sketches_than_bits() -> None:
    embeddings = clouds(queries=5, photos=50, width=32)
    codes = fit_on_test(embeddings, np.random.default_rng(0)).encode(embeddings)
    assert codes.gallery.shape == (50, 32)


def test_wrong_input() -> None:
    embeddings, generator = clouds(width=8), np.random.default_rng(0)
    with pytest.raises(DataError, match="9 bits need vectors of at least that width; these have 8"):
        fit_on_test(embeddings, generator, bits=9)
    with pytest.raises(DataError, match="fit binary codes on hold NaN"):
        fit(embeddings.query, np.full((3, 8), np.nan, np.float32), generator)
