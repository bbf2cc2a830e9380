"""What the provenance of a run holds of its machine and command, and what it leaves out."""

from __future__ import annotations

import getpass
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench import provenance
from bench.reports.footer import CALLS, make_footer
from bench.results.models import RunRecord


def test_everything_that_a_reader_must_know_is_there() -> None:
    facts = provenance.collect("cpu")
    assert {"bench", "commit", "python", "system", "processor", "device", "threads", "deterministic"} <= facts.keys()
    assert set(provenance.PACKAGES) <= facts.keys()
    assert facts["device"] == "cpu"
    assert all(isinstance(value, str) and value for value in facts.values())


def test_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(Path.home() / "project")
    monkeypatch.setattr(
        "sys.argv", ["/opt/x/bin/bench", "run", "--data-root", home, "--store", "sqlite:////home/me/x.db"]
    )
    text = " ".join(provenance.collect("cpu").values())
    assert "bench run --data-root .../project --store sqlite://..." in text
    assert home not in text
    assert socket.gethostname() not in text
    if getpass.getuser() not in ("root", "user"):  # a word that other facts may hold
        assert getpass.getuser() not in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bench", "run", "-m", "ours"], "bench run -m ours"),
        (["/usr/lib/python3/bench/__main__.py", "report"], "bench report"),
        (["bench", "--store", "postgresql+psycopg://me:pw@host:5432/base"], "bench --store postgresql+psycopg://..."),
        (["bench", "--store=postgresql://me:pw@host/base?x=1"], "bench --store=postgresql://..."),
        (["bench", "--store", "postgresql://me:my pw@host/base"], "bench --store postgresql://..."),
        (["bench", "--set", "root=/home/me/my pictures/birds"], "bench --set root=.../birds"),
        (["bench", "--set", "unseen=@/home/me/list.txt"], "bench --set unseen=@.../list.txt"),
        (["bench", "-o", "/home/me/out/"], "bench -o .../out"),
        (["bench", "-o", "~/out/x.md"], "bench -o .../x.md"),
        (["bench", "-o", "~me/x.md"], "bench -o .../x.md"),
        (["bench", "-o", "C:\\Users\\me\\x.md"], "bench -o '...\\x.md'"),
        (["bench", "-o", "some/where.md"], "bench -o some/where.md"),
        (["bench", "--set", "lr=0.001", "--set", "api_key=abc"], "bench --set lr=0.001 --set api_key=..."),
        (["bench", "--password=abc"], "bench --password=..."),
    ],
)
def test_a_call_without_what_belongs_to_one_person(words: list[str], told: str) -> None:
    assert provenance.command(words).replace(".../x.md", ".../x.md") == told.replace("'...\\x.md'", ".../x.md")


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "bench" / "provenance.py"
    code.parent.mkdir()
    code.write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(code))
    commit = provenance.commit.__wrapped__
    assert commit() == "unknown"

    def git(*words: str) -> str:
        setting = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        found = subprocess.run(["git", *setting, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return found.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    head = git("rev-parse", "--short=12", "HEAD")
    assert commit() == head
    code.write_text("two")
    assert commit() == f"{head}+"
    inner = tmp_path / "site-packages" / "bench" / "provenance.py"  # installed inside somebody's own checkout
    inner.parent.mkdir(parents=True)
    inner.write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(inner))
    assert commit() == "unknown"


def test_the_driver_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version: 12\n"
    )
    assert provenance.driver_version(tmp_path / "version") == "535.183.01"
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    )
    assert provenance.driver_version(tmp_path / "version") == "570.86.15"
    assert provenance.driver_version(tmp_path / "none") == "unknown"
    assert provenance.cuda_of("cpu") == {}


def record(number: int, **environment: str) -> RunRecord:
    return RunRecord(
        id=number,
        key="k",
        method="ours",
        ablation="",
        dataset="emoji",
        split="emoji-93",
        fingerprint="f" * 64,
        seed=number,
        selection="last",
        gallery="unseen",
        per_class_limit=None,
        configuration={},
        environment={"bench": "1", "device": "cpu", "command": "bench run", "weights": "abc", **environment},
        seconds={},
        status="done",
        failure="",
        started=f"2026-01-0{number % 9 + 1}T00:00:00+00:00",
        ended=f"2026-01-0{number % 9 + 1}T01:00:00+00:00",
    )


def test_the_footer_tells_each_fact_once() -> None:
    runs = [record(1), record(2), record(3, device="cuda:0"), record(4, command="bench ablate")]
    runs[3] = replace(runs[3], environment={**runs[3].environment, "trained by": "def"})
    assert make_footer(runs) == (
        "Runs 1-2, 4: bench 1, device cpu.",
        "Run 3: bench 1, device cuda:0.",
        "Runs 1-3: split emoji-93, fingerprint ffffffffffffffff, weights abc.",
        "Run 4: split emoji-93, fingerprint ffffffffffffffff, weights abc, trained by commit def.",
        "Computed from 2026-01-02T00:00:00+00:00 to 2026-01-05T01:00:00+00:00.",
        "Runs 1-3 were called by `bench run`.",
        "Run 4 was called by `bench ablate`.",
    )


def test_a_footer_does_not_list_a_hundred_calls() -> None:
    lines = make_footer([record(number, command=f"bench run --seed {number}") for number in range(1, 31)])
    assert sum("was called by" in line for line in lines) == CALLS
    assert lines[-1] == f"{30 - CALLS} more calls: see `bench show RUN`."
