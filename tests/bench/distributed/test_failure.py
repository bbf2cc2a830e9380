"""One sentence says why several processes end, whichever of them is gone and wherever; what they had is kept.

``team(agent=True)`` does what torchrun's agent does, from processes that start at once; one test is torchrun itself.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.distributed.failure import STOPPED, is_lost
from bench.errors import DataError
from bench.io import read_tensors
from bench.results.store import Store
from tests.pictures import SMALL, words_of, write_folder
from tests.processes import Busy, Ended, Fails, Fault, Planted, bench, team

INTERRUPTED = "Interrupted; what was finished is stored."
STEP = "bench.training.state:History.add"
EMBED = "bench.experiments.embed_split:embed"  # the second call is the gallery's: all processes embed then
SELECT = "bench.experiments.choose_epoch:embed"
TRAINS, IMAGENET = ("-m", "softmax", "--epochs", "2"), ("-m", "imagenet")
SELECTS = (*TRAINS, "--select", "seen-validation")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


def call_of(words: Sequence[str], pictures: Path) -> tuple[str, ...]:
    return ("run", *words_of(pictures, *SMALL), *words)


def says(found: Sequence[Ended], sentence: str, *, speaker: int) -> None:
    """One of the processes, and no other, says one sentence, once."""
    outputs = [each.output for each in found]
    assert [output.count(sentence) for output in outputs] == [rank == speaker for rank in range(len(found))], outputs
    others = {STOPPED, INTERRUPTED, "Traceback"} - {sentence}
    assert not any(other in output for output in outputs for other in others), outputs


def checkpoint_of(folder: Path) -> dict[str, Any]:
    (kept,) = (folder / "cache" / "checkpoints").glob("*.safetensors")
    found = read_tensors(kept)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("words", "size", "faults", "speaker"),
    [
        pytest.param(IMAGENET, 3, {1: [Fault(EMBED, 2)]}, 0, id="the second embeds"),
        pytest.param(IMAGENET, 3, {0: [Fault(EMBED, 2)], 1: [Fault(EMBED, 2)]}, 2, id="two embed"),
        pytest.param(
            TRAINS, 3, {2: [Fault(STEP, 2)], 0: [Busy(STEP, 2, 9)]}, 1, id="the third trains, the first is busy"
        ),
    ],
)
def test_whichever_process_is_killed_one_sentence_says_it(
    words: Sequence[str],
    size: int,
    faults: Mapping[int, Sequence[Planted]],
    speaker: int,
    pictures: Path,
    tmp_path: Path,
) -> None:
    found = team(tmp_path, *[call_of(words, pictures)] * size, faults=faults, agent=True)
    says(found, STOPPED, speaker=speaker)
    assert found[speaker].code in (4, 143)  # it noticed the loss itself, or torchrun's SIGTERM came first
    if words is TRAINS:
        assert checkpoint_of(tmp_path / "rank1")["step"] == 2


def test_the_first_is_killed_while_an_epoch_is_judged(pictures: Path, tmp_path: Path) -> None:
    """The second speaks and saves; gone on with, the run judges that epoch first, and ends as if nothing happened."""
    call = call_of(SELECTS, pictures)
    found = team(tmp_path, call, call, faults={0: [Fault(SELECT, 1)]}, agent=True)
    says(found, STOPPED, speaker=1)
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


def test_ctrl_c_is_said_once(pictures: Path, tmp_path: Path) -> None:
    """Also where one of the processes is so busy that it might be taken for dead."""
    stopped: list[Planted] = [Fault(STEP, 2, signal.SIGINT)]
    faults = {0: stopped, 1: stopped, 2: [*stopped, Busy(STEP, 2, 4)]}
    found = team(tmp_path, *[call_of(TRAINS, pictures)] * 3, faults=faults, agent=True)
    says(found, INTERRUPTED, speaker=0)
    assert found[0].code == 130
    assert checkpoint_of(tmp_path / "rank0")["step"] == 2


def test_torchrun_whose_first_process_is_killed(pictures: Path, tmp_path: Path) -> None:
    """It speaks and saves otherwise: the second does so in its place."""
    places = ["--store", str(tmp_path / "bench.db"), "--cache-dir", str(tmp_path / "cache")]
    fault = ["import os, signal, sys, runpy", "from bench.training.state import History", "add = History.add"]
    fault += ["def planted(self, step, values):", "    add(self, step, values)"]
    fault += ["    if step == 5 and os.environ['RANK'] == '0': os.kill(os.getpid(), signal.SIGKILL)"]
    fault += ["History.add = planted", "runpy.run_module('bench', run_name='__main__', alter_sys=True)"]
    (tmp_path / "planted.py").write_text("\n".join(fault))
    call = [*places, *call_of(("-m", "softmax", "--epochs", "400"), pictures)]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", tmp_path / "planted.py", *call],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONPATH": str(Path.cwd())},
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1  # torchrun's own, whatever the processes say
    assert ended.stderr.count(f"error: {STOPPED}") == 1, ended.stderr
    assert INTERRUPTED not in ended.stderr
    assert 'Traceback (most recent call last):\n  File "' + str(tmp_path) not in ended.stderr
    assert checkpoint_of(tmp_path)["step"] in (4, 5)  # an epoch has 3 steps: this is not what its end left


def test_without_torchrun_s_store_the_first_process_speaks(pictures: Path, tmp_path: Path) -> None:
    call = call_of(TRAINS, pictures)
    found = team(tmp_path, call, call, faults={1: [Fault(STEP, 5)]})
    says(found, STOPPED, speaker=0)
    assert (found[0].code, found[1].code) == (4, -signal.SIGKILL)
    place = tmp_path / "rank0"
    store = Store(str(place / "bench.db"))
    assert [(run.status, run.failure) for run in store.runs()] == [("interrupted", STOPPED)]
    store.close()
    again = bench(place, *call)  # alone: how many processes there are is no part of what was asked
    assert again.code == 0, again.output
    assert re.search("The training resumes after step [45] of 6.", again.output)


def test_the_first_process_s_end_ends_the_others_without_a_word(pictures: Path, tmp_path: Path) -> None:
    call = call_of(TRAINS, pictures)
    leader, follower = team(tmp_path, call, call, faults={0: [Fault(STEP, 2, signal.SIGTERM)]})
    assert (leader.code, follower.code) == (143, 4), leader.output + follower.output
    assert follower.output == ""
    assert checkpoint_of(tmp_path / "rank0")["step"] == 2


def test_a_mistake_is_said_once_whoever_meets_it(pictures: Path, tmp_path: Path) -> None:
    """All of them, where they never met; or one of them alone, in the middle of the run."""
    found = team(tmp_path, *[("report", "--kind", "nonsense")] * 2, agent=True)
    # torchrun may stop the second process while it ends by itself
    assert found[0].code == 2
    assert found[1].code in (2, 143)
    assert found[0].output.startswith("error: There is no kind of report 'nonsense'."), found
    assert found[1].output == ""
    call, broken = call_of(IMAGENET, pictures), [Fails(EMBED, 2, DataError("Image a.png cannot be read: restore it."))]
    found = team(tmp_path, call, call, faults={1: broken}, agent=True)
    says(found, "error: Process 1 of 2: Image a.png cannot be read: restore it.", speaker=1)
    assert (found[0].code, found[1].code) == (4, 3)


def test_errors_of_a_lost_process() -> None:
    assert is_lost(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"))
    assert is_lost(RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated."))
    assert not is_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_lost(OSError("Connection reset by peer"))
