"""The wheel, installed beside other packages named ``datasets``, ``methods`` and ``reports``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"bench": "bench", "datasets": "bench/datasets", "methods": "bench/methods", "reports": "bench/reports"}
OTHERS = ("datasets", "methods", "reports")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-deps", "--no-index"]


def call(*words: str | Path, cwd: Path) -> str:
    """The output of a process that must succeed; nothing of this checkout is on its path."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean |= {"BENCH_CACHE_DIR": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_others(folder: Path, owner: str) -> None:
    """Somebody's own packages of these names."""
    for name in OTHERS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"OWNER = {owner!r}\n")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder appears in the checkout."""
    copy, made = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    call(*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", made, copy, cwd=copy)
    (file,) = made.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with the wheel and other packages; it sees the dependencies of this one."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    write_others(site, "environment")
    # A folder in a .pth file adds no .pth files of its own: an editable installation in it stays out of sight.
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("-packages")))
    call(*PIP, "--python", home / "bin" / "python", "install", *OFFLINE, wheel, cwd=home)
    return home / "bin"


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    files = {
        f"{FOLDERS[folder]}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == files


@pytest.mark.parametrize("own", [False, True], ids=["empty folder", "folder with own packages"])
def test_it_runs_and_reports_and_leaves_other_packages_importable(own: bool, installed: Path, tmp_path: Path) -> None:
    if own:
        write_others(tmp_path, "current folder")
    run = ["run", "-m", "hog", "-d", "emoji", "--limit", "2", "--format", "json"]
    program = [installed / "python", "-m", "bench"] if own else [installed / "bench"]
    assert json.loads(call(*program, *run, cwd=tmp_path))["runs"][0]["method"] == "hog"
    assert "hog" in call(*program, "report", "--include-smoke", "--format", "csv", cwd=tmp_path)
    look = (
        "import json, datasets, methods, reports, bench.datasets, bench.methods, bench.reports\n"
        "print(json.dumps([datasets.OWNER, methods.OWNER, reports.OWNER, bench.datasets.__file__]))"
    )
    *owners, ours = json.loads(call(installed / "python", "-c", look, cwd=tmp_path))
    assert set(owners) == {"current folder" if own else "environment"}
    assert Path(ours).is_relative_to(installed.parent)


TYPED = """
import bench

result: bench.Evaluation = bench.evaluate([[1.0]], [[1.0]], ["a"], ["a"], metrics=["P@5:k"], distance="cosine")
value: float = result.scores["P@5:k"] + result.interval("P@5:k").low + bench.compare(result, [1.0]).points
split: bench.LoadedSplit = bench.load_split("emoji").limited(2)
runs: list[bench.Run] = [bench.run("hog", seed=1, epochs=2.0), *bench.ablate(seeds=2), *bench.runs(method="hog")]
network: bench.Network = bench.load_network(runs[0])
"""
UNTYPED = """
import bench

bench.evaluate(distance="cosin")
bench.run(seed="0")
bench.compare(1)
bench.load_splits
"""


def test_mypy_sees_the_types_of_the_api_from_outside(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "untyped.py").write_text(UNTYPED)
    # Packages below ours are not read: that would take a minute.
    others = ("torch", "PIL", "numba", "rich", "scipy", "sqlalchemy", "timm", "torchvision", "safetensors", "typer")
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in others)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = true\nfollow_imports = silent\n{skipped}")
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        installed / "python",
        "--cache-dir",
        tmp_path / "cache",
    ]
    done = subprocess.run([*words, "typed.py", "untyped.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    wrong = [line.partition(": ")[0] for line in done.stdout.splitlines() if ": error: " in line]
    assert wrong == ["untyped.py:4", "untyped.py:5", "untyped.py:6", "untyped.py:7"], done.stdout + done.stderr
