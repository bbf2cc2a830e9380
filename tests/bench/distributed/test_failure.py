"""One rank prints why a distributed run ends, whichever rank is gone and wherever; the last full step is saved.

``team(agent=True)`` does what torchrun's agent does, from processes that start at once; one test is torchrun itself.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.distributed import run
from torch.distributed.launcher.api import LaunchConfig

from bench.distributed.failure import STOPPED, is_lost
from bench.errors import DataError
from bench.io import read_tensors
from bench.results.store import Store
from tests.pictures import SMALL, words_of, write_folder
from tests.processes import Busy, Constant, Ended, Fails, Fault, Planted, bench, ended, program, start, team

INTERRUPTED = "Interrupted; what was finished is stored."
STEP = "bench.training.state:TrainingState.add"
EMBED = "bench.experiments.embed_split:embed"  # the second call is the gallery's: all processes embed then
SELECT = "bench.experiments.choose_epoch:embed"
TRAINS, IMAGENET = ("-m", "softmax", "--epochs", "2"), ("-m", "imagenet")
SELECTS = (*TRAINS, "--select", "seen-validation")
NO_WAIT = Constant("bench.distributed.failure:WAIT", 1.0)  # seconds that the others wait for rank 0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


def call_of(words: Sequence[str], pictures: Path) -> tuple[str, ...]:
    return ("run", *words_of(pictures, *SMALL), *words)


def prints(found: Sequence[Ended], sentence: str, *, rank: int) -> None:
    """One rank, and no other, prints one sentence, once."""
    outputs = [each.output for each in found]
    assert [output.count(sentence) for output in outputs] == [each == rank for each in range(len(found))], outputs
    others = {STOPPED, INTERRUPTED, "Traceback"} - {sentence}
    assert not any(other in output for output in outputs for other in others), outputs


def checkpoint_of(folder: Path) -> dict[str, Any]:
    (kept,) = (folder / "cache" / "checkpoints").glob("*.safetensors")
    found = read_tensors(kept)
    assert found is not None
    return found[1]


def test_two_ranks_are_killed_while_they_embed(pictures: Path, tmp_path: Path) -> None:
    killed: list[Planted] = [Fault(EMBED, 2)]
    found = team(tmp_path, *[call_of(IMAGENET, pictures)] * 3, faults={0: killed, 1: killed, 2: [NO_WAIT]}, agent=True)
    prints(found, STOPPED, rank=2)
    assert found[2].code in (4, 143)  # it noticed the loss itself, or torchrun's SIGTERM came first


def test_a_rank_is_killed_while_it_trains_and_rank_0_is_busy(pictures: Path, tmp_path: Path) -> None:
    printed = tmp_path / "rank1" / "output.txt"
    faults: dict[int, list[Planted]] = {0: [Busy(STEP, 2, 60, printed)], 1: [NO_WAIT], 2: [Fault(STEP, 2)]}
    found = team(tmp_path, *[call_of(TRAINS, pictures)] * 3, faults=faults, agent=True)
    prints(found, STOPPED, rank=1)
    assert checkpoint_of(tmp_path / "rank1")["step"] == 2


def test_rank_0_is_killed_while_an_epoch_is_scored(pictures: Path, tmp_path: Path) -> None:
    """The resumed run scores that epoch first, and ends as if nothing happened."""
    call = call_of(SELECTS, pictures)
    found = team(tmp_path, call, call, faults={0: [Fault(SELECT, 1)], 1: [NO_WAIT]}, agent=True)
    prints(found, STOPPED, rank=1)
    assert checkpoint_of(tmp_path / "rank1")["step"] == 3
    again, undisturbed = bench(tmp_path / "rank1", *call), bench(tmp_path, *call)
    assert (again.code, undisturbed.code) == (0, 0), again.output
    assert re.search("The training resumes after step 3 of 6.", again.output)
    values = []
    for folder in (tmp_path / "rank1", tmp_path):
        store = Store(str(folder / "bench.db"))
        (run,) = store.runs(status="done")
        values.append([score.value for score in run.scores])
        store.close()
    assert np.allclose(*values, atol=1e-4)


def test_ctrl_c_is_printed_once(pictures: Path, tmp_path: Path) -> None:
    """Also where one rank is so busy that it might be taken for dead."""
    stopped: list[Planted] = [Fault(STEP, 2, signal.SIGINT)]
    faults = {0: stopped, 1: [*stopped, Busy(STEP, 2, 3)]}
    found = team(tmp_path, *[call_of(TRAINS, pictures)] * 2, faults=faults, agent=True)
    prints(found, INTERRUPTED, rank=0)
    assert found[0].code == 130
    assert checkpoint_of(tmp_path / "rank0")["step"] == 2


def torchrun(folder: Path, words: Sequence[str]) -> None:
    """``torchrun --nproc-per-node 2 -m bench WORDS``, whose processes are forked from this one."""
    config_of = run.config_from_args

    def forked(arguments: Any) -> tuple[LaunchConfig, Any, list[Any]]:
        config, _, _ = config_of(arguments)
        config.start_method = "fork"
        return config, rank_of_torchrun, [folder, words]

    run.config_from_args = forked
    with (folder / "output.txt").open("w") as output:
        os.dup2(output.fileno(), 2)
    run.main(["--nproc-per-node", "2", "bench"])


def rank_of_torchrun(folder: Path, words: Sequence[str]) -> None:
    """Rank 0 is killed in the middle of the second epoch."""
    own = folder / f"rank{os.environ['RANK']}"
    own.mkdir()
    program(own, words, [NO_WAIT, Fault(STEP, 5)] if own.name == "rank0" else [NO_WAIT])


def test_torchrun_whose_rank_0_is_killed(pictures: Path, tmp_path: Path) -> None:
    """Rank 1 prints and saves in its place."""
    agent = ended(start(torchrun, tmp_path, call_of(("-m", "softmax", "--epochs", "400"), pictures)), tmp_path)
    assert agent.code == 1, agent.output  # torchrun's own, whatever the processes say
    prints([Ended(None, (tmp_path / f"rank{rank}" / "output.txt").read_text()) for rank in (0, 1)], STOPPED, rank=1)
    assert checkpoint_of(tmp_path / "rank1")["step"] in (4, 5)  # an epoch has 3 steps: this is not what its end left


def test_without_torchrun_s_store_rank_0_prints(pictures: Path, tmp_path: Path) -> None:
    call = call_of(TRAINS, pictures)
    found = team(tmp_path, call, call, faults={1: [Fault(STEP, 5)]})
    prints(found, STOPPED, rank=0)
    assert (found[0].code, found[1].code) == (4, -signal.SIGKILL)
    place = tmp_path / "rank0"
    store = Store(str(place / "bench.db"))
    assert [(run.status, run.failure) for run in store.runs()] == [("interrupted", STOPPED)]
    store.close()
    again = bench(place, *call)  # alone: the number of processes is not part of the request
    assert again.code == 0, again.output
    assert re.search("The training resumes after step [45] of 6.", again.output)


def test_when_rank_0_is_stopped_the_others_end_silently(pictures: Path, tmp_path: Path) -> None:
    call = call_of(TRAINS, pictures)
    leader, follower = team(tmp_path, call, call, faults={0: [Fault(STEP, 2, signal.SIGTERM)]})
    assert (leader.code, follower.code) == (143, 4), leader.output + follower.output
    assert follower.output == ""
    assert checkpoint_of(tmp_path / "rank0")["step"] == 2


def test_an_error_of_all_ranks_is_printed_once(tmp_path: Path) -> None:
    found = team(tmp_path, *[("report", "--kind", "nonsense")] * 2, agent=True)
    assert found[0].code == 2
    assert found[1].code in (2, 143)  # torchrun may stop it while it ends by itself
    assert found[0].output.startswith("error: There is no kind of report 'nonsense'."), found
    assert found[1].output == ""


def test_an_error_of_one_rank_is_printed_by_it(pictures: Path, tmp_path: Path) -> None:
    call, broken = call_of(IMAGENET, pictures), Fails(EMBED, 2, DataError("Image a.png cannot be read: restore it."))
    found = team(tmp_path, call, call, faults={1: [NO_WAIT, broken]}, agent=True)
    prints(found, "error: Process 1 of 2: Image a.png cannot be read: restore it.", rank=1)
    assert found[0].code in (4, 143)  # it noticed the loss itself, or the SIGTERM came first
    assert found[1].code == 3


def test_errors_of_a_lost_process() -> None:
    assert is_lost(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"))
    assert is_lost(RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated."))
    assert not is_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_lost(OSError("Connection reset by peer"))
