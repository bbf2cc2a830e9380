"""Several processes train one network: the same losses and scores, one voice, a sentence when one of them is gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import details
from bench.distributed import ALONE, VARIABLES, Processes, joined
from bench.errors import UsageError
from bench.files import read_tensors
from bench.store import Store
from datasets.augmentation import Augmentation
from datasets.samplers import BalancedBatches
from tests.pictures import words_of, write_folder
from tests.processes import Changed, Ended, Fault, Planted, bench, team

# 30 training images of 10 classes a modality, 16 a batch: 3 steps an epoch, 10 in all. The learning rates are low:
# Adam's first steps turn the rounding of a tiny gradient into a step of the whole rate.
TRAINING = ("--epochs", "3.34", "--lr", "1e-5", "--set", "head_lr=1e-4")
STEPS = 10
GONE = (
    "Another process of this run ended: what was finished is stored, and asking again goes on from the last checkpoint."
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def alone(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    ended = bench(folder, "run", *methods(), *TRAINING, *words_of(pictures))
    assert ended.code == 0, ended.output
    return folder


def methods() -> list[str]:
    """The framework, whose losses mine the whole batch, and one with a teacher that looks at photos."""
    return ["-m", "ours", "-m", "sake"]


def pair(folder: Path, words: Sequence[str], **faults: Sequence[Planted]) -> list[Ended]:
    return team(folder, words, words, faults={int(rank.removeprefix("rank")): each for rank, each in faults.items()})


def test_two_processes_do_what_one_does(pictures: Path, alone: Path, tmp_path: Path) -> None:
    """Losses of ten steps, scores of the trained network, the run's key; and one of them speaks."""
    leader, follower = pair(tmp_path, ("run", *methods(), *TRAINING, *words_of(pictures)))
    assert (leader.code, follower.code) == (0, 0), leader.output + follower.output
    assert follower.output == ""
    assert not (tmp_path / "rank1" / "bench.db").exists()
    one, two = Store(str(alone / "bench.db")), Store(str(tmp_path / "rank0" / "bench.db"))
    first, second = one.runs(), two.runs()
    assert [run.method for run in second] == [run.method for run in first]
    for each, other in zip(first, second, strict=True):
        assert other.key == each.key
        assert other.environment["processes"] == "2"
        assert "processes" not in each.environment
        history = [
            details.history(store.detail(run.id, details.HISTORY) or b"") for store, run in ((one, each), (two, other))
        ]
        assert [len(points) for points in history] == [STEPS, STEPS]
        for mine, theirs in zip(*history, strict=True):
            assert mine.keys() == theirs.keys()
            assert all(abs(mine[term] - theirs[term]) <= 1e-5 for term in mine), (each.method, mine, theirs)
        for mine, theirs in zip(each.scores, other.scores, strict=True):
            assert abs(mine.value - theirs.value) <= 1e-4, (each.method, mine, theirs)
    one.close()
    two.close()


def test_a_process_that_dies_ends_the_run_with_a_sentence_and_a_checkpoint(
    pictures: Path, alone: Path, tmp_path: Path
) -> None:
    call = ("run", "-m", "ours", *TRAINING, *words_of(pictures))
    leader, follower = pair(tmp_path, call, rank1=[Fault("bench.training:History.add", 5)])
    assert (leader.code, follower.code) == (4, -signal.SIGKILL), leader.output
    assert leader.output.count(GONE) == 1
    assert "Traceback" not in leader.output
    place = tmp_path / "rank0"
    store = Store(str(place / "bench.db"))
    assert [(run.status, run.failure) for run in store.runs()] == [("interrupted", GONE)]
    store.close()
    final = bench(place, *call)  # alone: how many processes there are is no part of what was asked
    assert final.code == 0, final.output
    assert re.search("The training goes on after step [45] of 10.", final.output)
    store, undisturbed = Store(str(place / "bench.db")), Store(str(alone / "bench.db"))
    (run,), expected = store.runs(status="done"), undisturbed.runs(method="ours")[0]
    assert np.allclose([s.value for s in run.scores], [s.value for s in expected.scores], atol=1e-4)
    store.close()
    undisturbed.close()


def test_the_leader_s_end_ends_the_others_without_a_word(pictures: Path, tmp_path: Path) -> None:
    call = ("run", "-m", "ours", *TRAINING, *words_of(pictures))
    leader, follower = pair(tmp_path, call, rank0=[Fault("bench.training:History.add", 2, signal.SIGTERM)])
    assert (leader.code, follower.code) == (143, 4), leader.output + follower.output
    assert follower.output == ""
    assert list((tmp_path / "rank0" / "cache" / "checkpoints").glob("*.safetensors"))


def test_a_checkpoint_of_one_process_is_taken_up_by_two(pictures: Path, alone: Path, tmp_path: Path) -> None:
    call = ("run", "-m", "ours", *TRAINING, *words_of(pictures))
    (tmp_path / "rank0").mkdir()
    stopped = bench(tmp_path / "rank0", *call, faults=[Fault("bench.training:History.add", 5, signal.SIGTERM)])
    assert stopped.code == 143, stopped.output
    leader, follower = pair(tmp_path, call)
    assert (leader.code, follower.code) == (0, 0), leader.output + follower.output
    assert "The training goes on after step 5 of 10." in leader.output
    store, undisturbed = Store(str(tmp_path / "rank0" / "bench.db")), Store(str(alone / "bench.db"))
    (run,), expected = store.runs(status="done"), undisturbed.runs(method="ours")[0]
    assert np.allclose([s.value for s in run.scores], [s.value for s in expected.scores], atol=1e-4)
    store.close()
    undisturbed.close()


def test_a_process_without_the_data_is_named(pictures: Path, tmp_path: Path) -> None:
    call, other = ("run", "-m", "ours", *words_of(pictures)), ("run", "-m", "ours", *words_of(tmp_path / "nothing"))
    leader, follower = team(tmp_path, call, other)
    assert (leader.code, follower.code) == (3, 3), leader.output
    assert "error: Process 1 of 2: " in leader.output
    assert "nothing" in leader.output
    assert follower.output == ""


def test_processes_with_other_data_or_options_are_refused(pictures: Path, tmp_path: Path) -> None:
    fewer = write_folder(tmp_path / "fewer", images=2)
    call = ("run", "-m", "ours", *words_of(pictures))
    leader, _ = team(tmp_path, call, ("run", "-m", "ours", *words_of(fewer)))
    assert leader.code == 3
    assert "error: Process 1 has other data than process 0" in leader.output
    leader, _ = team(tmp_path, call, (*call, "--epochs", "7"))
    assert leader.code == 2
    assert "error: Process 1 was asked for other runs than process 0" in leader.output


def test_what_several_processes_cannot_do_is_refused_before_anything_is_entered(pictures: Path, tmp_path: Path) -> None:
    call = ("run", "-m", "ours", *words_of(pictures), "--set", "frozen_batchnorm=false")
    leader, follower = pair(tmp_path, call)
    assert (leader.code, follower.code) == (2, 2), leader.output
    assert "error: Several processes cannot train batch normalisation" in leader.output
    assert follower.output == ""
    assert not (tmp_path / "rank0" / "bench.db").exists()


def test_processes_with_other_code_are_refused(pictures: Path, tmp_path: Path) -> None:
    call = ("run", "-m", "ours", *words_of(pictures))
    leader, follower = pair(tmp_path, call, rank1=[Changed("bench.cli.cells:code_hash", "0123456789abcdef")])
    assert (leader.code, follower.code) == (2, 2), leader.output
    assert "error: Process 1 runs other code than process 0 (code 0123456789abcdef against" in leader.output


def test_torchrun_starts_it_and_progress_is_shown_once(pictures: Path, tmp_path: Path) -> None:
    places = ["--store", str(tmp_path / "bench.db"), "--cache-dir", str(tmp_path / "cache")]
    call = ["-m", "bench", *places, "run", "-m", "imagenet", *words_of(pictures), "--format", "json"]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *call],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["run"] == 1
    assert ended.stderr.count("scoring:") == 1
    store = Store(str(tmp_path / "bench.db"))
    assert [run.environment["processes"] for run in store.runs()] == ["2"]
    store.close()


@pytest.mark.parametrize("killed", [0, 1])
def test_whichever_process_is_killed_one_sentence_says_it(killed: int, pictures: Path, tmp_path: Path) -> None:
    """Also the first, which speaks and saves otherwise: the second does so in its place."""
    places = ["--store", str(tmp_path / "bench.db"), "--cache-dir", str(tmp_path / "cache")]
    call = ["-m", "bench", *places, "run", "-m", "softmax", *words_of(pictures, "--epochs", "400")]
    fault = ["import os, signal, sys, runpy", "from bench.training import History", "add = History.add"]
    fault += ["def planted(self, step, values):", "    add(self, step, values)"]
    fault += [f"    if step == 5 and os.environ['RANK'] == '{killed}': os.kill(os.getpid(), signal.SIGKILL)"]
    fault += ["History.add = planted", "runpy.run_module('bench', run_name='__main__', alter_sys=True)"]
    (tmp_path / "planted.py").write_text("\n".join(fault))
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", tmp_path / "planted.py", *call[2:]],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONPATH": str(Path.cwd())},
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1  # torchrun's own, whatever the processes say
    assert ended.stderr.count(f"error: {GONE}") == 1, ended.stderr
    assert 'Traceback (most recent call last):\n  File "' + str(tmp_path) not in ended.stderr
    (kept,) = (tmp_path / "cache" / "checkpoints").glob("*.safetensors")
    found = read_tensors(kept)
    assert found is not None
    assert found[1]["step"] in (4, 5)  # an epoch has 3 steps: this is not what its end left


def test_every_position_falls_to_one_process() -> None:
    for size in (1, 2, 3, 7):
        shares = [Processes(rank, size).share(10) for rank in range(size)]
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


def test_half_of_torchrun_s_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with joined("cpu") as processes:
        assert processes == ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="RANK is not set: start several processes by torchrun"), joined("cpu"):
        pass


def test_alone_nothing_is_passed() -> None:
    rows = torch.rand(3, 2)
    assert ALONE.rows_of_all(rows) is rows
    assert ALONE.whole_batch(rows, [0, 1, 2], 3) is rows
    assert ALONE.told({"a": 1}) == {"a": 1}
    assert ALONE.tensors_told(None) is None
    assert not ALONE.lost(RuntimeError("Connection closed by peer"))
    with pytest.raises(UsageError, match=r"^wrong$"):
        ALONE.together(wrong)


def wrong() -> None:
    raise UsageError("wrong")
