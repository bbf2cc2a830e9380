"""Nothing that is read from disk can run code: no pickle is loaded, whatever a file is called and wherever it lies."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bench.cli.main import app
from bench.embeddings.cache import EmbeddingCache
from bench.errors import DataError, LoadingError
from bench.io import read_tensors
from bench.methods.backbone.weights import read_state
from bench.methods.modules.class_tables import read_class_table
from bench.results import details
from bench.training.state import Checkpoint

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bench", "methods", "datasets", "reports", "tools", "benchmarks", "examples")
# What would unpickle, or read with a function that may; not the command of a message, with its {placeholder}.
FORBIDDEN = (
    r"\b(?:pickle|cPickle|cloudpickle|dill|joblib|shelve|marshal)\.\w",
    r"import\s+(?:pickle|cPickle|cloudpickle|dill|joblib|shelve|marshal)\b",
    r"allow_pickle\s*=\s*True",
    r"read_pickle|yaml\.(?:unsafe_)?load\(",
    r"weights_only\s*=\s*False",
    r"jit\.load\((?!\{)|hub\.load\(|torch\.package|loadmat\(",
    r"(?<![.\w])(?:eval|exec)\(",
)
LOADERS = {r"torch\.load\(": "weights_only=True", r"np\.load\(": "allow_pickle=False"}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def statements(text: str, pattern: str) -> list[str]:
    """Every call that ``pattern`` begins, to its closing bracket."""
    found = []
    for match in re.finditer(pattern, text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        found.append(text[match.start() : end])
    return found


def test_no_source_file_unpickles() -> None:
    files = sources()
    assert len(files) > 100
    wrong, calls = [], 0
    for path in files:
        text = path.read_text()
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        wrong += [f"{path.name}: {line.strip()}" for line in lines for each in FORBIDDEN if re.search(each, line)]
        for pattern, needed in LOADERS.items():
            for call in statements(text, pattern):
                calls += 1
                if needed not in call:
                    wrong.append(f"{path.name}: {call}")
    assert wrong == []
    assert calls >= 3  # weights, embeddings and class tables are read somewhere


@pytest.mark.parametrize(
    "line", ["x = torch.load(f)", "y = np.load(f)", "pickle.loads(b)", "import dill", "eval(x)", "torch.jit.load(f)"]
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    by_name = any(re.search(each, line) for each in FORBIDDEN)
    by_loader = any(needed not in call for pattern, needed in LOADERS.items() for call in statements(line, pattern))
    assert by_name or by_loader


class Bomb:
    """Makes a file called ``exploded`` in the current folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def bombs(folder: Path) -> dict[str, Path]:
    """Malicious files of every kind that the program reads."""
    files = {name: folder / name for name in ("bare.pkl", "zip.pth", "old.pth", "array.npy", "arrays.npz", "inner.npz")}
    files["bare.pkl"].write_bytes(pickle.dumps(Bomb()))
    torch.save({"weight": torch.zeros(2), "bomb": Bomb()}, files["zip.pth"])
    torch.save({"weight": Bomb()}, files["old.pth"], _use_new_zipfile_serialization=False)
    np.save(files["array.npy"], np.array([Bomb()], dtype=object), allow_pickle=True)
    good = {"query_labels": np.zeros(2, int), "gallery_labels": np.zeros(2, int), "gallery": np.ones((2, 3))}
    np.savez(files["arrays.npz"], query=np.array([Bomb(), Bomb()], dtype=object), **good)
    with zipfile.ZipFile(files["inner.npz"], "w") as archive:
        archive.writestr("query.npy", pickle.dumps(Bomb()))
        archive.writestr("table.npy", pickle.dumps(Bomb()))
    return files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.chdir(tmp_path)
    return bombs(tmp_path)


def test_the_bombs_are_live(files: dict[str, Path]) -> None:
    pickle.loads(files["bare.pkl"].read_bytes())
    assert Path("exploded").exists()
    Path("exploded").unlink()
    np.load(files["array.npy"], allow_pickle=True)
    assert Path("exploded").exists()


def test_weights_files(files: dict[str, Path]) -> None:
    for path in files.values():
        with pytest.raises(LoadingError):
            read_state(path)
    assert not Path("exploded").exists()


def test_tables_of_classes(files: dict[str, Path]) -> None:
    for path in files.values():
        with pytest.raises(DataError):
            read_class_table(path, ["a", "b"], 3)
    assert not Path("exploded").exists()


def test_files_in_the_cache(files: dict[str, Path], tmp_path: Path) -> None:
    """Checkpoints, networks, knowledge tables and embeddings: somebody else may write to a shared cache."""
    cache = EmbeddingCache(tmp_path)
    cache.path("key").parent.mkdir()
    for path in files.values():
        assert read_tensors(path) is None
        checkpoint = tmp_path / "checkpoint.safetensors"
        checkpoint.write_bytes(path.read_bytes())
        assert Checkpoint(checkpoint, "key").read() is None
        cache.path("key").write_bytes(path.read_bytes())
        assert cache.read("key") is None
    assert not Path("exploded").exists()


def test_files_in_the_database(files: dict[str, Path]) -> None:
    file = io.BytesIO()
    np.savez(file, positions=np.array([Bomb()], dtype=object))
    for content in (file.getvalue(), *(path.read_bytes() for path in files.values())):
        for reading in (details.per_query, details.top, details.curve, details.history, details.sums):
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the reader makes of it, nothing is run
                reading(content)
    assert not Path("exploded").exists()


def test_on_the_command_line(runner: CliRunner, tmp_path: Path) -> None:
    files = bombs(tmp_path)
    for name, path in files.items():
        scored = runner.invoke(app, ["score", str(path)])
        assert scored.exit_code == 3, (name, scored.output)
    for name in ("bare.pkl", "zip.pth", "old.pth"):
        words = ["run", "-m", "imagenet", "--limit", "1", "--image-size", "32", "--weights", str(files[name])]
        run = runner.invoke(app, words)
        assert run.exit_code == 7, (name, run.output)
        assert "Traceback" not in run.output
    assert not Path("exploded").exists()
