"""Training and ranking on a real GPU. Tests that every device must pass take ``tests.devices.DEVICE`` instead."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.evaluation.ranking import rank
from bench.evaluation.ranking_gpu import rank_with_torch
from bench.results import details
from bench.results.store import Store
from tests.bench.evaluation.clouds import clouds
from tests.pictures import SMALL, words_of, write_folder
from tests.processes import Fault, bench, team

GPU = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

# 3 steps an epoch; rates at which Adam does not turn the rounding of a tiny gradient into a step of the whole rate.
TRAINING = ("run", "-m", "ours", "--epochs", "4", "--lr", "1e-5", "--set", "head_lr=1e-4")
STEPS = 12


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def on_gpu(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    train(folder, pictures)
    return folder


def words(pictures: Path, device: str = GPU) -> list[str]:
    return [*TRAINING, *words_of(pictures, *SMALL, device=device)]


def train(folder: Path, pictures: Path, *more: str, device: str = GPU) -> None:
    ended = bench(folder, *words(pictures, device), *more)
    assert ended.code == 0, ended.output


def losses(folder: Path) -> list[dict[str, float]]:
    """The loss terms of every step of the only run of a database."""
    store = Store(str(folder / "bench.db"))
    (run,) = store.runs(status="done")
    found = details.history(store.detail(run.id, details.HISTORY) or b"")
    store.close()
    assert len(found) == STEPS
    return found


def score(folder: Path) -> float:
    store = Store(str(folder / "bench.db"))
    (run,) = store.runs(status="done")
    store.close()
    return run.value("mAP@all:plain")


def assert_near(one: list[dict[str, float]], other: list[dict[str, float]], relative: float) -> None:
    for mine, theirs in zip(one, other, strict=True):
        for term in mine:
            assert theirs[term] == pytest.approx(mine[term], rel=relative), term


def test_a_gpu_trains_as_the_cpu_does(pictures: Path, on_gpu: Path, tmp_path: Path) -> None:
    train(tmp_path, pictures, device="cpu")
    assert_near(losses(tmp_path), losses(on_gpu), 0.01)
    assert score(on_gpu) == pytest.approx(score(tmp_path), abs=0.01)


def test_a_run_names_its_gpu_and_the_memory_that_it_took(on_gpu: Path) -> None:
    store = Store(str(on_gpu / "bench.db"))
    (run,) = store.runs(status="done")
    store.close()
    assert run.environment["device"].startswith("cuda")
    assert run.environment["deterministic"] == "algorithms"
    assert 10**6 < run.cost["peak_device_memory"] < 10**10


def test_a_training_on_a_gpu_repeats_to_the_bit(pictures: Path, on_gpu: Path, tmp_path: Path) -> None:
    train(tmp_path, pictures)
    assert losses(tmp_path) == losses(on_gpu)
    assert score(tmp_path) == score(on_gpu)


def test_a_killed_training_on_a_gpu_resumes_to_the_bit(pictures: Path, on_gpu: Path, tmp_path: Path) -> None:
    fault = Fault("bench.training.state:TrainingState.add", 8)  # in the third epoch
    assert bench(tmp_path, *words(pictures), faults=[fault]).code == -fault.number
    train(tmp_path, pictures)
    assert losses(tmp_path) == losses(on_gpu)
    assert score(tmp_path) == score(on_gpu)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_as_single_does(precision: str, pictures: Path, on_gpu: Path, tmp_path: Path) -> None:
    train(tmp_path, pictures, "--precision", precision)
    found = losses(tmp_path)
    assert all(math.isfinite(value) for step in found for value in step.values())
    assert_near(losses(on_gpu), found, 0.1)
    assert found != losses(on_gpu)


def test_two_processes_on_gpus_train_as_one_does(pictures: Path, on_gpu: Path, tmp_path: Path) -> None:
    """Each on a GPU of its own, or both on the only one."""
    leader, follower = team(tmp_path, words(pictures), words(pictures))
    assert (leader.code, follower.code) == (0, 0), leader.output + follower.output
    assert_near(losses(on_gpu), losses(tmp_path / "rank0"), 0.01)
    assert score(tmp_path / "rank0") == pytest.approx(score(on_gpu), abs=0.01)


def test_a_tile_that_a_gpu_cannot_hold_is_halved() -> None:
    """2,000 queries and 20,000 photos, of which a tile takes up to half a gigabyte."""
    made = clouds(queries=2000, photos=20_000)
    count = functools.partial(rank_with_torch, made, ["mAP@all:plain", "P@100:k"], top=5, device=GPU)
    tiles: list[int] = []
    expected = rank(made, ["mAP@all:plain", "P@100:k"], top=5)
    count()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(200 * 2**20 / total)
    try:
        found = count(progress=lambda done, _: tiles.append(done))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tiles[-1] == 2000
    assert tiles[0] < 400
    np.testing.assert_allclose(found.values, expected.values, atol=1e-3)
    for metric in found.metrics:
        assert found.score(metric).value == pytest.approx(expected.score(metric).value, abs=1e-6)
