"""Trained networks on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from bench.errors import LoadingError
from bench.experiments.execute import build, weights_of
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.base import Method
from bench.settings.request import Request
from bench.training.trained_networks import Networks, network_hash

SMALL = ("backbone=test_resnet", "weights=none", "image_size=32", "dim=8")


@pytest.fixture
def method(resources: Resources) -> Method:
    return build(resolve(Request("softmax", "emoji", assignments=SMALL), resources), resources, torch.device("cpu"))


def test_a_network_is_loaded_with_its_facts(method: Method, resources: Resources, tmp_path: Path) -> None:
    networks = Networks(tmp_path)
    facts = {"seconds": {"training": 2.5}, "history": [{"step": 1.0, "classification": 0.1}], "commit": "abc+"}
    networks.save("key", method, facts)
    before = network_hash(method)
    with torch.no_grad():
        next(method.parameters()).add_(1)
    assert network_hash(method) != before
    kept = networks.load("key", method)
    assert kept is not None
    assert network_hash(method) == before
    assert facts.items() <= kept.items()


def test_a_network_of_another_key_or_a_damaged_one_is_not_loaded(
    method: Method, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    networks = Networks(tmp_path)
    assert networks.load("key", method) is None
    assert caplog.text == ""
    networks.save("another", method, {})
    networks.network("another").path.rename(networks.network("key").path)
    assert networks.load("key", method) is None
    networks.network("key").path.write_bytes(b"no such file")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert networks.load("key", method) is None
    assert "key.safetensors is damaged: it is trained again" in caplog.text


def test_a_network_that_does_not_fit_is_an_error(method: Method, resources: Resources, tmp_path: Path) -> None:
    Networks(tmp_path).save("key", method, {})
    request = Request("softmax", "emoji", assignments=(*SMALL[:-1], "dim=9"))
    wider = build(resolve(request, resources), resources, torch.device("cpu"))
    with pytest.raises(LoadingError, match="does not fit this network"):
        Networks(tmp_path).load("key", wider)


def test_provenance_names_the_weights_and_the_network(method: Method) -> None:
    assert weights_of(method) == {"weights": "none", "network": network_hash(method)[:16]}
