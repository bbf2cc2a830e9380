"""A run from its claim to its end, whatever happens on the way."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench.experiments.run
from bench.devices import out_of_memory
from bench.errors import IncompleteError, MemoryExhaustedError, StorageError
from bench.evaluation.metrics.base import STORED_METRICS
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.experiments.run import run_and_store
from bench.methods.base import METHODS
from bench.methods.imagenet import ImageNet
from bench.results import details
from bench.results.models import DetailRow
from bench.results.store import Store
from bench.settings.request import Request
from bench.training.trained_networks import Networks
from tests.conftest import Quiet, carry_out
from tests.pictures import words_of, write_folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), classes=8, images=2)


@pytest.fixture
def own(tmp_path: Path) -> Resources:
    """A cache of the test's own."""
    return Resources(tmp_path / "data", tmp_path / "cache", device="cpu")


def asked(pictures: Path, resources: Resources, method: str = "imagenet", *more: str, **changes: Any) -> Experiment:
    settings = [word for word in words_of(pictures) if "=" in word]
    request = Request(method, "folder", assignments=(*settings, "backbone=tf_efficientnet_lite0", *more))
    return resolve(replace(request, **changes), resources)


def test_everything_of_a_run_is_stored_in_one_transaction(
    pictures: Path, own: Resources, store: Store, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = asked(pictures, own)
    with monkeypatch.context() as patch:
        patch.setattr(DetailRow, "__init__", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_and_store(experiment, store, own, quiet)
    (failed,) = store.runs()
    assert (failed.status, failed.scores, failed.failure) == ("failed", (), "ZeroDivisionError: division by zero")
    found = run_and_store(experiment, store, own, quiet)
    assert found is not None
    record, already = found
    assert not already
    assert len(record.scores) == 2 * len(STORED_METRICS)
    assert details.per_query(store.detail(record.id, details.PER_QUERY) or b"").values.shape[1] == 8
    assert details.top(store.detail(record.id, details.TOP) or b"").positions.shape == (8, 8)
    assert record.environment["weights"] == "579344248a93e230"
    assert len(record.environment["classes"]) == len(record.environment["network"]) == 16
    again = run_and_store(experiment, store, own, quiet)
    assert again == (record, True)


def test_a_cell_of_another_process_is_not_computed(
    pictures: Path, own: Resources, store: Store, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = asked(pictures, own)
    store.claim({**experiment.identity, "environment": {}})
    monkeypatch.setattr(bench.experiments.run, "execute", lambda *_, **__: 1 / 0)
    assert run_and_store(experiment, store, own, quiet) is None


def test_embeddings_that_are_no_numbers_are_told_with_the_epoch(
    pictures: Path, own: Resources, store: Store, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageNet, "embed", lambda self, images, is_photo: torch.full((len(images), 4), math.nan))
    with pytest.raises(IncompleteError, match=r"gives NaN or infinity after epoch \d+: lower --lr"):
        run_and_store(asked(pictures, own), store, own, quiet)
    assert store.runs()[0].status == "failed"
    assert not (own.cache_dir / "embeddings").exists()  # nothing of it is kept


def test_equal_embeddings_of_a_method_without_training_blame_no_learning_rate(
    pictures: Path, own: Resources, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageNet, "embed", lambda self, images, is_photo: torch.ones(len(images), 4))
    with pytest.raises(IncompleteError, match="nothing was trained: check the images"):
        carry_out(asked(pictures, own), own, quiet)


def test_embeddings_that_collapsed_in_training_are_told_with_epoch_and_terms(
    pictures: Path, own: Resources, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS.get("softmax"), "embed", lambda self, images, is_photo: torch.ones(len(images), 4))
    experiment = asked(pictures, own, "softmax", "epochs=1")
    with pytest.raises(IncompleteError, match=r"have collapsed: .* after epoch 1 of classification; lower --lr"):
        carry_out(experiment, own, quiet)


def test_a_loss_that_is_no_number_is_told_with_epoch_and_term(
    pictures: Path, own: Resources, store: Store, quiet: Quiet
) -> None:
    experiment = asked(pictures, own, "ours", "epochs=4", "head_lr=1e38", "weight_preservation=0")
    with pytest.raises(IncompleteError, match=r"Loss term '\w+' became (nan|inf) in epoch \d+ \(step \d+\)"):
        run_and_store(experiment, store, own, quiet)
    assert "became" in store.runs()[0].failure


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), True),
        (np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype(float)), True),  # type: ignore[attr-defined]
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("sizes do not match"), False),
        (ValueError("out of memory"), False),
    ],
    ids=str,
)
def test_what_counts_as_too_little_memory(error: Exception, told: bool) -> None:
    assert out_of_memory(error) is told


def test_the_real_allocator_s_words_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value)


def test_too_little_memory_while_training_never_changes_the_batch(
    pictures: Path, own: Resources, store: Store, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.methods.softmax import Softmax

    sizes: list[int] = []

    def losses(self: object, outputs: Any, labels: Any, is_photo: Any) -> Any:
        sizes.append(len(labels))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Softmax, "losses", losses)
    with pytest.raises(MemoryExhaustedError, match="lower --batch-size or --image-size, or take a smaller --backbone"):
        run_and_store(asked(pictures, own, "softmax", "epochs=1"), store, own, quiet)
    assert sizes == [16]
    assert [(run.status, run.failure) for run in store.runs()] == [("failed", "out of memory")]


def test_a_network_that_cannot_be_kept_does_not_cost_its_scores(
    pictures: Path,
    own: Resources,
    store: Store,
    quiet: Quiet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("File x cannot be written: free some space.")

    monkeypatch.setattr(Networks, "save", full)
    found = run_and_store(asked(pictures, own, "softmax", "epochs=0.5"), store, own, quiet)
    assert found is not None
    assert found[0].status == "done"
    assert "The trained network is not cached" in caplog.text


def test_a_network_trained_by_other_code_says_so(
    pictures: Path, own: Resources, store: Store, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench import provenance

    monkeypatch.setattr(provenance, "commit", lambda: "older+")
    experiment = asked(pictures, own, "softmax", "epochs=0.5")
    first = run_and_store(experiment, store, own, quiet)
    monkeypatch.setattr(provenance, "commit", lambda: "newer")
    coded = asked(pictures, own, "softmax", "epochs=0.5", "rerank=icfrr")  # which follows the training
    second = run_and_store(coded, store, own, quiet)
    assert first is not None
    assert second is not None
    assert "trained by" not in first[0].environment
    assert second[0].environment["trained by"] == "older+"
    assert second[0].environment["network"] == first[0].environment["network"]
