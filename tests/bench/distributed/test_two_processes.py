"""Two processes that train one network give the losses and scores of one."""

from __future__ import annotations

import functools
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.datasets.images.augmentation import Augmentation
from bench.datasets.images.samplers import BalancedBatches
from bench.devices import to_pixels
from bench.distributed.process_group import ALONE, VARIABLES, Processes, choose_backend, join_processes
from bench.errors import UsageError
from bench.experiments.execute import build
from bench.methods.base import Method
from bench.results import details
from bench.results.store import Store
from tests.pictures import SMALL, words_of, write_folder
from tests.processes import Constant, Ended, Fault, Planted, bench, run_python, team

# 30 training images of 10 classes a modality, 16 a batch: 3 steps an epoch, 10 in all. The learning rates are low:
# Adam's first steps turn the rounding of a tiny gradient into a step of the whole rate.
RATES = ("--lr", "1e-5", "--set", "head_lr=1e-4")
TRAINING = ("--epochs", "3.34", *RATES)
STEPS = 10
STEP = "bench.training.state:TrainingState.add"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def alone(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    ended = bench(folder, "run", *methods(), *TRAINING, *words_of(pictures, *SMALL))
    assert ended.code == 0, ended.output
    return folder


def methods() -> list[str]:
    """The framework, whose losses mine the whole batch, and one with a teacher that looks at photos."""
    return ["-m", "ours", "-m", "sake"]


def pair(folder: Path, words: Sequence[str], **faults: Sequence[Planted]) -> list[Ended]:
    return team(folder, words, words, faults={int(rank.removeprefix("rank")): each for rank, each in faults.items()})


def same(alone: Path, together: Path, losses: float, scores: float, first: float = 1e-5) -> None:
    """The runs of two databases have the same keys and, but for so much, the same losses and scores.

    ``first`` is for the losses of the first step, which no rounding of an optimiser has moved.
    """
    one, two = Store(str(alone / "bench.db")), Store(str(together / "bench.db"))
    runs = list(zip(one.runs(), two.runs(), strict=True))
    assert runs
    for each, other in runs:
        assert other.key == each.key
        assert other.environment["processes"] == "2"
        assert "processes" not in each.environment
        history = [
            details.history(store.detail(run.id, details.HISTORY) or b"") for store, run in ((one, each), (two, other))
        ]
        for step, (mine, theirs) in enumerate(zip(*history, strict=True)):
            assert mine.keys() == theirs.keys()
            bound = losses if step else first
            assert all(abs(mine[term] - theirs[term]) <= bound for term in mine), (each.method, mine, theirs)
        for score, found in zip(each.scores, other.scores, strict=True):
            assert abs(score.value - found.value) <= scores, (each.method, score, found)
    one.close()
    two.close()


def test_two_processes_do_what_one_does(pictures: Path, alone: Path, tmp_path: Path) -> None:
    """Losses of ten steps, scores of the trained network, the run's key; and one rank prints."""
    leader, follower = pair(tmp_path, ("run", *methods(), *TRAINING, *words_of(pictures, *SMALL)))
    assert (leader.code, follower.code) == (0, 0), leader.output + follower.output
    assert follower.output == ""
    assert not (tmp_path / "rank1" / "bench.db").exists()
    store = Store(str(alone / "bench.db"))
    assert [len(details.history(store.detail(n, details.HISTORY) or b"")) for n in (1, 2)] == [STEPS, STEPS]
    store.close()
    same(alone, tmp_path / "rank0", losses=1e-5, scores=1e-4)


@pytest.mark.parametrize(
    "words", [("clip-prompt", "--without", "classification"), ("zse-ret",)], ids=lambda each: each[0]
)
def test_parts_that_no_image_of_a_process_needs_do_not_stop_it(
    words: tuple[str, ...], pictures: Path, tmp_path: Path
) -> None:
    """One process has the sketches, the other the photos; and some batches hold no pair for the cross-attention."""
    settings = (f"root={pictures}", "draw=4", "backbone=test_vit", "batches=images", "batch_size=4")
    chosen = [word for each in settings for word in ("--set", each)]
    small = ("--weights", "none", "--image-size", "32", "--device", "cpu", "--epochs", "0.5", *RATES)
    call = ("run", "-d", "folder", "-m", *words, *chosen, *small)
    ended = bench(tmp_path, *call)
    assert ended.code == 0, ended.output
    assert [each.code for each in pair(tmp_path, call)] == [0, 0]
    same(tmp_path, tmp_path / "rank0", losses=1e-5, scores=1e-4)


def pixels_in_doubles(images: Tensor, device: torch.device) -> Tensor:
    return to_pixels(images, device).double()


def method_in_doubles(*arguments: Any, **keywords: Any) -> Method:
    return build(*arguments, **keywords).double()


def test_at_the_usual_rates_two_processes_do_what_one_does(pictures: Path, tmp_path: Path) -> None:
    """In numbers whose rounding no optimiser makes large: float64 images and parameters."""
    doubles = [
        Constant("bench.experiments.execute:build", method_in_doubles),
        *(
            Constant(f"bench.{each}:to_pixels", pixels_in_doubles)
            for each in ("training.loop", "training.embed", "experiments.execute")
        ),
    ]
    call = ("run", "-m", "ours", "--epochs", "3.34", *words_of(pictures, *SMALL))
    assert bench(tmp_path, *call, faults=doubles).code == 0
    assert [each.code for each in pair(tmp_path, call, rank0=doubles, rank1=doubles)] == [0, 0]
    same(tmp_path, tmp_path / "rank0", losses=1e-6, scores=1e-4)


@pytest.mark.parametrize(
    ("precision", "losses"),
    [
        ("bf16", 0.005),  # measured: 0.0003
        ("fp16", 0.05),  # measured: 0.007, and 0.7 where the processes leave out other steps as too large
    ],
)
def test_in_mixed_precision_two_processes_do_what_one_does_but_for_rounding(
    precision: str, losses: float, pictures: Path, tmp_path: Path
) -> None:
    call = ("run", "-m", "softmax", *words_of(pictures, *SMALL), *RATES, "--epochs", "2", "--precision", precision)
    assert bench(tmp_path, *call).code == 0
    assert [each.code for each in pair(tmp_path, call)] == [0, 0]
    same(tmp_path, tmp_path / "rank0", losses=losses, scores=0.05, first=1e-3)


def test_two_processes_compile_what_one_computes(pictures: Path, tmp_path: Path) -> None:
    """By torch's compiler without what makes machine code, which would take minutes."""
    call = ("run", "-m", "softmax", *words_of(pictures, *SMALL), "--epochs", "0.67")
    assert bench(tmp_path, *call).code == 0
    eager = [Constant("torch:compile", functools.partial(torch.compile, backend="eager"))]
    assert [each.code for each in pair(tmp_path, (*call, "--compile"), rank0=eager, rank1=eager)] == [0, 0]
    same(tmp_path, tmp_path / "rank0", losses=1e-5, scores=1e-4)
    store = Store(str(tmp_path / "rank0" / "bench.db"))
    assert [run.environment["compiled"] for run in store.runs()] == ["by torch.compile"]
    store.close()


def test_a_checkpoint_of_one_process_is_taken_up_by_two(pictures: Path, alone: Path, tmp_path: Path) -> None:
    call = ("run", "-m", "ours", *TRAINING, *words_of(pictures, *SMALL))
    (tmp_path / "rank0").mkdir()
    stopped = bench(
        tmp_path / "rank0", *call, faults=[Fault("bench.training.state:TrainingState.add", 5, signal.SIGTERM)]
    )
    assert stopped.code == 143, stopped.output
    leader, follower = pair(tmp_path, call)
    assert (leader.code, follower.code) == (0, 0), leader.output + follower.output
    assert "The training resumes after step 5 of 10." in leader.output
    store, undisturbed = Store(str(tmp_path / "rank0" / "bench.db")), Store(str(alone / "bench.db"))
    (run,), expected = store.runs(status="done"), undisturbed.runs(method="ours")[0]
    assert np.allclose([s.value for s in run.scores], [s.value for s in expected.scores], atol=1e-4)
    store.close()
    undisturbed.close()


def test_what_several_processes_cannot_do_is_refused_before_anything_is_entered(pictures: Path, tmp_path: Path) -> None:
    call = ("run", "-m", "ours", *words_of(pictures, *SMALL), "--set", "frozen_batchnorm=false")
    leader, follower = pair(tmp_path, call)
    assert (leader.code, follower.code) == (2, 2), leader.output
    assert "error: Several processes cannot train batch normalisation" in leader.output
    assert follower.output == ""
    assert not (tmp_path / "rank0" / "bench.db").exists()


def test_torchrun_starts_it_and_progress_is_shown_once(pictures: Path, tmp_path: Path) -> None:
    places = ["--store", "bench.db", "--cache-dir", "cache"]
    call = ["-m", "bench", *places, "run", "-m", "imagenet", *words_of(pictures, *SMALL), "--format", "json"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    ended = run_python(tmp_path, *torchrun, *call, environment={"NO_COLOR": "1"})
    errors = (tmp_path / "error.txt").read_text()
    assert ended.code == 0, errors
    assert json.loads(ended.output)["runs"][0]["run"] == 1
    assert errors.count("scoring:") == 1
    store = Store(str(tmp_path / "bench.db"))
    assert [run.environment["processes"] for run in store.runs()] == ["2"]
    store.close()


def test_every_position_falls_to_one_process() -> None:
    for size in (1, 2, 3, 7):
        shares = [Processes(rank, size).part(range(10)) for rank in range(size)]
        assert [position for share in shares for position in share] == list(range(10))
        assert {len(share) for share in shares} <= {10 // size, 10 // size + 1}
    assert Processes(1, 3).part("abcdef") == "cd"


def test_a_batch_is_split_by_class_in_both_domains() -> None:
    labels, is_photo = np.repeat(np.arange(5), 8), np.tile(np.repeat([False, True], 4), 5)
    sampler = BalancedBatches(labels, is_photo, batch_size=20, per_class=2)
    positions = np.array(next(iter(sampler.epoch(0, 0))))
    shares = [sampler.share(rank, 3) for rank in range(3)]
    assert sorted(row for share in shares for row in share) == list(range(sampler.batch)) == list(range(20))
    for share in shares:
        own = positions[share]
        sketches, photos = labels[own][~is_photo[own]], labels[own][is_photo[own]]
        assert sorted(sketches) == sorted(photos)
        assert set(np.bincount(sketches)) <= {0, 2}
    with pytest.raises(UsageError, match="A batch of 5 classes cannot be split over 6 processes: raise --batch-size"):
        sampler.share(0, 6)


def test_a_part_of_a_batch_is_augmented_as_in_the_whole() -> None:
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    augmentation = Augmentation(grayscale=0.5)
    whole = augmentation(images, torch.Generator().manual_seed(3))
    rows = [1, 4, 5]
    part = augmentation(images[rows], torch.Generator().manual_seed(3), rows, 6)
    assert torch.allclose(part, whole[rows], atol=1e-6)


@pytest.mark.parametrize(
    ("gpus", "device", "backend", "own"),
    [
        (2, "auto", "cpu:gloo,cuda:nccl", ["cuda:0", "cuda:1"]),
        (1, "cuda", "gloo", ["cuda:0", "cuda:0"]),  # NCCL refuses two processes on one GPU
        (2, "cuda:1", "gloo", ["cuda:1", "cuda:1"]),
        (2, "cpu", "gloo", ["cpu", "cpu"]),
        (0, "auto", "gloo", ["auto", "auto"]),
    ],
)
def test_each_process_takes_a_gpu_of_its_own_or_shares_one(
    gpus: int, device: str, backend: str, own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    assert choose_backend(device, 2) == backend
    assert [Processes(rank, 2, rank).device(device) for rank in (0, 1)] == own


def test_half_of_torchrun_s_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with join_processes("cpu") as processes:
        assert processes == ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="RANK is not set: start several processes by torchrun"), join_processes("cpu"):
        pass


def test_alone_nothing_is_passed() -> None:
    rows = torch.rand(3, 2)
    assert ALONE.all_gather_rows(rows) is rows
    assert ALONE.gather_batch(rows, [0, 1, 2], 3) is rows
    assert ALONE.broadcast({"a": 1}) == {"a": 1}
    assert ALONE.broadcast_tensors(None) is None
    with pytest.raises(RuntimeError, match="closed by peer"), ALONE.watch():
        raise RuntimeError("Connection closed by peer")
    with pytest.raises(UsageError, match=r"^wrong$"):
        ALONE.all_succeed(wrong)


def wrong() -> None:
    raise UsageError("wrong")
