"""Output and working folders as they come: any encoding, a closed or full stdout, names that are not UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import SMALL, words_of, write_folder
from tests.processes import bench

ROOT = Path(__file__).parents[2]
REPORT = ["report", "--store", str(ROOT / "docs/results/emoji.db")]


def program(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}]
)
def test_a_report_is_printed_in_any_encoding(environment: dict[str, str]) -> None:
    done = program(*REPORT, env=environment, stdout=subprocess.DEVNULL)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_a_closed_stdout_is_no_error() -> None:
    done = program("list", "metrics", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "unbuffered"),
    [
        (["list", "metrics"], 0, ""),
        (["list", "metrics"], 0, "1"),
        (["show", "1", *REPORT[1:]], 0, ""),
        (["list", "-h"], 0, "1"),
        (["show", "none"], 2, ""),
    ],
)
def test_a_reader_that_leaves_changes_no_exit_code(words: list[str], code: int, unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = program(*words, stdout=writing, env={"PYTHONUNBUFFERED": unbuffered})
    os.close(writing)
    assert (done.returncode, "Broken" in done.stderr) == (code, False), done.stderr


@pytest.mark.parametrize("words", [["list", "metrics"], ["list", "metrics", "--format", "json"], ["--help"]])
def test_a_full_stdout_is_one_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = program(*words, stdout=full)
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: The output cannot be written (No space left on device)")


def test_a_network_is_trained_and_reported_in_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xc4\xe3\xba\xc3"))
    place.mkdir()
    pictures = write_folder(place / os.fsdecode(b"\xcd\xbc"))
    store = ["--store", os.fsdecode(b"\xc4.db")]
    sketch = next((pictures / "sketch").glob("*/*"))
    for words in (
        ["run", "-m", "softmax", "--epochs", "1", *words_of(pictures, *SMALL)],
        ["list", "runs"],
        ["report", "-o", "report.html", "--format", "html"],
        ["query", "1", str(sketch), "-o", "found.html"],
    ):
        ended = bench(place, *words, *store)
        assert ended.code == 0, ended.output
    assert (place / store[1]).is_file()
