"""What is switched on a device so that it gives the same numbers each time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from bench.devices import be_deterministic
from bench.provenance import deterministic


@pytest.fixture(autouse=True)
def flags_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    benchmark, fill = torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = benchmark
    torch.utils.deterministic.fill_uninitialized_memory = fill
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_a_gpu_is_told_to_be_deterministic_and_provenance_says_so() -> None:
    torch.backends.cudnn.benchmark = True
    assert deterministic() == "no, cudnn benchmark"
    be_deterministic(torch.device("cuda:1"))
    assert deterministic() == "algorithms"
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    be_deterministic(torch.device("cuda"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_a_processor_is_left_alone() -> None:
    be_deterministic(torch.device("cpu"))
    assert deterministic() == "no"
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
