"""`bench run --checkpoint`: a trained network scored as it is, on its own images and on those of another dataset."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from bench.cli.main import app, main
from bench.datasets.folder import Folder
from bench.results.store import Store
from bench.training.trained_networks import open_trained
from tests.pictures import words_of, write_folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trained run (1) and one that trains nothing (2), and the cache beside it."""
    folder = tmp_path_factory.mktemp("trained")
    places = ["--store", str(folder / "bench.db"), "--cache-dir", str(folder / "cache"), "-q"]
    call = ["run", "-m", "softmax", "-m", "imagenet", *words_of(pictures, "--epochs", "0.5"), "--seed", "3"]
    assert CliRunner().invoke(app, [*places, *call]).exit_code == 0
    return folder


@pytest.fixture
def asked(trained: Path, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls ``bench WORDS`` with a copy of that store."""
    shutil.copy(trained / "bench.db", "bench.db")
    monkeypatch.setenv("BENCH_CACHE_DIR", str(trained / "cache"))

    def call(*words: str) -> Result:
        return runner.invoke(app, list(words))

    return call


def words_here(pictures: Path) -> list[str]:
    return ["-d", "folder", "--set", f"root={pictures}", "--set", "draw=4", "--device", "cpu"]


def network(trained: Path) -> Path:
    (path,) = (trained / "cache" / "networks").glob("*.safetensors")
    return path


def test_a_network_that_was_taught_by_a_wordnet_table_is_scored_without_it(
    pictures: Path, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    settings = Folder.Settings(root=str(pictures), draw=4)
    seen = Folder(tmp_path, settings).split().seen
    table = tmp_path / "wordnet.npz"
    np.savez(table, table=np.zeros((len(seen), 1000)), classes=np.array(seen))
    words = ["-m", "sake", "--set", f"wordnet={table}", "--set", "dim=16", "--epochs", "0.5"]
    ran = runner.invoke(app, ["run", *words, *words_of(pictures)])
    assert ran.exit_code == 0, ran.stderr
    table.unlink()
    sketch = next(pictures.glob("sketch/*/*"))
    for call in (["run", "--checkpoint", "1", *words_here(pictures)], ["query", "1", str(sketch)]):
        found = runner.invoke(app, [*call, "--data-root", str(pictures)])
        assert found.exit_code == 0, found.stderr
    store = Store("bench.db")
    first, again = store.runs()
    assert again.scores == first.scores
    store.close()


@pytest.mark.parametrize("by", ["run", "path"])
def test_on_its_own_images_it_scores_as_it_did(by: str, asked: Any, pictures: Path, trained: Path) -> None:
    checkpoint = "1" if by == "run" else str(network(trained))
    found = asked("run", "--checkpoint", checkpoint, *words_here(pictures), "--format", "json")
    assert found.exit_code == 0, found.output
    row = json.loads(found.stdout)["runs"][0]
    assert (row["method"], row["seed"], row["already_done"]) == ("softmax", 3, False)
    store = Store("bench.db")
    first, _, again = store.runs()
    assert again.scores == first.scores
    assert first.title == "softmax"
    assert again.title == f"softmax trained on {first.split}"  # never in the row of a training
    assert again.key != first.key
    assert again.environment["network"] == first.environment["network"]
    assert "training" not in again.seconds
    store.close()
    found = asked("run", "--checkpoint", "3", *words_here(pictures), "--format", "json")  # of a run that has it from 1
    assert json.loads(found.stdout)["runs"][0]["already_done"]


def test_on_another_dataset_it_says_what_it_was_trained_on_and_saw(asked: Any, trained: Path) -> None:
    words = ("run", "--checkpoint", "1", "-d", "emoji", "--limit", "1", "--device", "cpu")
    plan = asked(*words, "--dry-run", "--format", "json")
    (row,) = json.loads(plan.stdout)["runs"]
    assert row["experiment"].startswith("softmax trained on draw4-seed0-")
    call = row["command"][row["command"].index("run") :]
    assert call[:5] == ["run", "--checkpoint", str(network(trained).resolve()), "-d", "emoji"]
    found = asked(*words, "--format", "json")
    assert found.exit_code == 0, found.output
    saw = json.loads(found.stdout)["runs"][0]["checkpoint"]["saw"]
    facts = open_trained(network(trained))
    assert saw
    assert set(saw) <= set(facts.seen)  # the folder's pictures are of emoji's classes
    assert f"the network saw {len(saw)} of 93 test classes in training" in found.stderr
    # The command of the plan asks for the same run.
    assert json.loads(asked(*row["command"][1:], "--format", "json").stdout)["runs"][0]["already_done"]
    report = asked("report", "-d", "emoji", "--include-smoke")
    assert f"| softmax trained on {facts.training['split']} (saw {len(saw)} test class" in report.stdout
    store = Store("bench.db")
    assert store.runs()[-1].split == "emoji-93"
    store.close()


def test_what_follows_embedding_may_be_chosen(asked: Any, pictures: Path) -> None:
    call = ("run", "--checkpoint", "1", *words_here(pictures), "--set", "codes=itq-test", "--set", "bits=8")
    found = asked(*call, "--format", "json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["runs"][0]["post"]["codes"] == "itq-test"


def test_a_test_at_another_size_trains_nothing_again(asked: Any, pictures: Path, trained: Path) -> None:
    before = network(trained).stat().st_mtime_ns
    call = ("run", "-m", "softmax", *words_of(pictures, "--epochs", "0.5"), "--seed", "3", "--format", "json")
    (found,) = json.loads(asked(*call, "--set", "test_size=48").stdout)["runs"]
    assert network(trained).stat().st_mtime_ns == before
    assert found["post"]["test_size"] == 48


def test_a_method_without_network_has_no_other_size(asked: Any, pictures: Path) -> None:
    called = asked("run", "-m", "hog", *words_of(pictures), "--set", "test_size=48")
    assert called.exit_code == 2
    assert "'hog' has no network to test at another size" in called.stderr


def test_a_sketch_asks_a_network_that_came_from_elsewhere(asked: Any, pictures: Path) -> None:
    assert asked("run", "--checkpoint", "1", *words_here(pictures)).exit_code == 0
    sketch = next(pictures.glob("sketch/*/*"))
    one, other = (asked("--data-root", str(pictures), "query", run, str(sketch), "-k", "3") for run in ("1", "3"))
    assert one.exit_code == other.exit_code == 0, one.output + other.output
    assert one.stdout == other.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["1", "--set", "codes=itq"], 2, "Setting 'codes' has no choice 'itq'. Did you mean 'itq-test'?"),
        (["9"], 4, "There is no run 9: "),
        (["9", "--store", "none.db"], 4, "There is no results database none.db"),
        (["2"], 2, "Run 2 trained nothing: use -m imagenet on the other dataset"),
        (["nowhere.safetensors"], 7, "Checkpoint nowhere.safetensors does not exist: name a run"),
        (["text.txt"], 7, "is damaged, or is not a network"),
        (["1", "-m", "ours"], 2, "which was by 'softmax': leave out -m ours"),
        (["1", "--epochs", "3"], 2, "settings of its training cannot be changed"),
        (["1", "--without", "classification"], 2, "leave out --without"),
        (["1", "--select", "oracle"], 2, "leave out --without, --structural and --select"),
        (["1", "--seeds", "2"], 2, "leave out --seed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes(words: list[str], code: int, message: str, asked: Any) -> None:
    Path("text.txt").write_text("no network")
    places = words[words.index("--store") :] if "--store" in words else []  # a global option
    own = words[: len(words) - len(places)]
    found = asked(*places, "run", "--checkpoint", *own, "-d", "emoji", "--limit", "1")
    assert found.exit_code == code, found.output
    assert message in " ".join(found.stderr.split())


def test_neither_method_nor_checkpoint(asked: Any) -> None:
    found = asked("run", "-d", "emoji")
    assert found.exit_code == 2
    assert "Name a method by -m" in found.stderr


def test_a_damaged_network_or_one_of_before_is_refused(asked: Any, trained: Path, tmp_path: Path) -> None:
    from bench.io import read_tensors, write_tensors

    content = bytearray(network(trained).read_bytes())
    content[-1] ^= 1
    Path("damaged.safetensors").write_bytes(content)
    found = asked("run", "--checkpoint", "damaged.safetensors")
    assert (found.exit_code, "is damaged" in found.stderr) == (7, True), found.output
    read = read_tensors(network(trained))
    assert read is not None
    tensors, facts = read
    for change, message in (
        ({"trained": None}, "an older version of bench wrote it"),
        ({"trained": {"training": {}, "settings": {}}}, "has other settings than this version"),
    ):
        write_tensors(Path("older.safetensors"), tensors, {**facts, **change})
        found = asked("run", "--checkpoint", "older.safetensors")
        assert (found.exit_code, message in " ".join(found.stderr.split())) == (7, True), found.output


def test_knowledge_is_of_the_run_that_trained(asked: Any, pictures: Path) -> None:
    assert asked("run", "--checkpoint", "1", *words_here(pictures)).exit_code == 0
    found = asked("show", "knowledge", "3", "--set", f"root={pictures}")
    assert found.exit_code == 2, found.output
    assert "name the run that trained its network" in " ".join(found.stderr.split())


def test_the_words_can_be_pasted(asked: Any, trained: Path) -> None:
    """A path with a blank survives a shell."""
    path = Path("a network.safetensors")
    shutil.copy(network(trained), path)
    plan = asked("run", "--checkpoint", str(path), "--limit", "1", "--dry-run", "--format", "json")
    (row,) = json.loads(plan.stdout)["runs"]
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(shlex.join(row["command"]))[1:], "--dry-run"])
    assert ended.value.code == 0


def test_a_network_of_a_smoke_run_stays_smoke(asked: Any, runner: CliRunner, tmp_path: Path) -> None:
    """Otherwise figures of a network that saw one image a class would stand in a report as any other."""
    cache = ("--cache-dir", str(tmp_path / "own"))
    call = ("run", "-m", "softmax", "--limit", "2", "--epochs", "0.1", "--image-size", "32", "--device", "cpu")
    made = asked(*cache, *call, "--format", "json")
    assert made.exit_code == 0, made.output
    found = asked(*cache, "run", "--checkpoint", str(json.loads(made.stdout)["runs"][0]["run"]), "--device", "cpu")
    assert found.exit_code == 0, found.output
    refused = asked("report", "-d", "emoji")
    assert (refused.exit_code, "--include-smoke" in refused.stderr) == (4, True)
    report = asked("report", "-d", "emoji", "--include-smoke")
    assert "| softmax trained on emoji-93 (smoke: 2 images a class) | 0 " in report.stdout
