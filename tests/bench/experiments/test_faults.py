"""Real processes killed and stopped on the way: resumed, a run ends bit for bit as one that nobody disturbed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bench.io import facts_of, read_tensors, write_tensors
from bench.results import details
from bench.results.store import Store
from tests.pictures import SMALL, words_of, write_folder
from tests.processes import Fault, bench

# 30 training images of 10 classes a modality, 16 a batch: 3 steps an epoch, 9 in all.
TRAINING = ("run", "-m", "ours", "--epochs", "3")

FAULTS = [
    pytest.param(Fault("bench.training.state:TrainingState.add", 2), id="killed in the first epoch"),
    pytest.param(Fault("bench.training.state:write_tensors", 1), id="killed before a checkpoint is written"),
    pytest.param(Fault("bench.io:remove_abandoned", 1), id="killed after a checkpoint was written"),
    pytest.param(Fault("bench.training.state:TrainingState.add", 2, signal.SIGTERM), id="SIGTERM while training"),
    pytest.param(Fault("bench.training.trained_networks:Networks.save", 1), id="killed after the last step"),
    pytest.param(Fault("bench.results.store:Store.finish", 1), id="killed before the scores are stored"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = bench(folder, *TRAINING, *words_of(pictures, *SMALL))
    assert ended.code == 0, ended.output
    return folder


def test_killed_five_times_and_stopped_a_run_ends_as_if_nothing_had_happened(
    pictures: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """One run, killed or stopped at one point after the other, each time resumed."""
    call = (*TRAINING, *words_of(pictures, *SMALL))
    for parameters in FAULTS:
        (fault,) = parameters.values
        ended = bench(tmp_path, *call, faults=[fault])
        expected = 143 if fault.number == signal.SIGTERM else -signal.SIGKILL
        assert ended.code == expected, f"{parameters.id}: {ended.output}"
    final = bench(tmp_path, *call)
    assert final.code == 0, final.output
    assert "training" not in final.output.replace("reading training images", "")  # its network was kept
    same_results(undisturbed, tmp_path)
    store = Store(str(tmp_path / "bench.db"))
    statuses = [(run.status, run.failure) for run in store.runs()]
    store.close()
    killed = ("interrupted", "its process ended")
    # The outcome of the last one was in a file, from which its run was finished.
    assert statuses == [killed, killed, killed, ("interrupted", "stopped by a signal"), killed, ("done", "")]
    assert not list((tmp_path / "cache" / "checkpoints").glob("*.safetensors"))


def test_ctrl_c_twice_loses_the_step_and_nothing_else(pictures: Path, undisturbed: Path, tmp_path: Path) -> None:
    call = (*TRAINING, *words_of(pictures, *SMALL))
    first = Fault("bench.training.state:TrainingState.add", 5, signal.SIGINT)
    second = Fault("bench.training.state:Checkpoint.write", 2, signal.SIGINT)  # the first is that of the first epoch
    ended = bench(tmp_path, *call, faults=[first, second])
    assert ended.code == 130, ended.output
    assert "Interrupted; what was finished is stored." in ended.output
    assert not list(tmp_path.rglob("*.tmp"))
    (kept,) = (tmp_path / "cache" / "checkpoints").glob("*.safetensors")
    facts = facts_of(kept)
    assert facts is not None
    before = 1000.0  # what its first part took, that of the cost table is the sum
    read = read_tensors(kept)
    assert read is not None
    write_tensors(kept, read[0], {**facts, "history": {**facts["history"], "seconds": before}})  # type: ignore[dict-item]
    final = bench(tmp_path, *call)
    assert final.code == 0, final.output
    assert "The training resumes after step 3 of 9." in final.output
    same_results(undisturbed, tmp_path)
    store = Store(str(tmp_path / "bench.db"))
    assert before < store.runs(status="done")[0].seconds["training"] < before + 600
    store.close()


def test_a_damaged_checkpoint_is_not_used(pictures: Path, undisturbed: Path, tmp_path: Path) -> None:
    call = (*TRAINING, *words_of(pictures, *SMALL))
    ended = bench(tmp_path, *call, faults=[Fault("bench.training.state:TrainingState.add", 5, signal.SIGTERM)])
    assert ended.code == 143, ended.output
    (checkpoint,) = (tmp_path / "cache" / "checkpoints").iterdir()
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    final = bench(tmp_path, *call)
    assert final.code == 0, final.output
    assert "is damaged: the training starts from the beginning" in final.output
    same_results(undisturbed, tmp_path)


def same_results(one: Path, other: Path) -> None:
    """Scores, values of every query, best photos and training curves are equal to the last bit."""
    stores = [Store(str(folder / "bench.db")) for folder in (one, other)]
    (before,), (after,) = (store.runs(status="done") for store in stores)
    assert before.key == after.key
    assert before.scores == after.scores
    assert before.environment["network"] == after.environment["network"]
    for name in (details.PER_QUERY, details.TOP, details.CURVE, details.HISTORY):
        assert stores[0].detail(before.id, name) == stores[1].detail(after.id, name) is not None
    for store in stores:
        store.close()
