"""Processes that would not do the same are refused before anything is entered, with a sentence that names one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import SMALL, words_of, write_folder
from tests.processes import Changed, Constant, Ended, team

PLUGIN = """
from bench.methods.imagenet import ImageNet


class Alien(ImageNet):
    name, bias = "alien", {}
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


def call_of(pictures: Path, *more: str) -> tuple[str, ...]:
    return ("run", "-m", "softmax", *words_of(pictures, *SMALL), *more)


def refused(found: Sequence[Ended], code: int, said: str) -> None:
    """Both processes end with the code, the first says why, and nothing was stored."""
    assert [each.code for each in found] == [code, code], found
    assert said in found[0].output
    assert found[1].output == ""


def test_a_process_without_the_data_is_named(pictures: Path, tmp_path: Path) -> None:
    found = team(tmp_path, call_of(pictures), call_of(tmp_path / "nothing"))
    refused(found, 3, "error: Process 1 of 2: ")
    assert "nothing" in found[0].output


def test_processes_with_other_data_or_options_are_refused(pictures: Path, tmp_path: Path) -> None:
    fewer = write_folder(tmp_path / "fewer", images=2)
    found = team(tmp_path, call_of(pictures), call_of(fewer))
    refused(found, 3, "error: Process 1 has other data than process 0 (list of folder, ")
    found = team(tmp_path, call_of(pictures), call_of(pictures, "--epochs", "7"))
    refused(found, 2, "error: Process 1 has other options than process 0 (run 1 ")


def test_processes_whose_images_have_the_same_names_and_hold_something_else_are_refused(
    pictures: Path, tmp_path: Path
) -> None:
    painted = write_folder(tmp_path / "painted")
    for path in (painted / "photo").rglob("*.*"):
        Image.new("RGB", (64, 64), (200, 30, 30)).save(path)
    found = team(tmp_path, call_of(pictures, "--epochs", "1"), call_of(painted, "--epochs", "1"))
    refused(found, 3, "error: Process 1 has other data than process 0 (content of folder, split 1, draw4-seed0-")
    assert not (tmp_path / "rank0" / "bench.db").exists()


def test_processes_with_other_code_are_refused(pictures: Path, tmp_path: Path) -> None:
    other = [
        Changed("bench.experiments.preflight:code_hash", "0123456789abcdef"),
        Constant("bench.experiments.preflight:version", str.upper),
    ]
    found = team(tmp_path, *[call_of(pictures)] * 2, faults={1: other})
    refused(found, 2, "error: Process 1 has other code than process 0 (source 0123456789abcdef against")
    for package in ("torch", "torchvision", "timm", "numpy"):
        assert f"{package} {package.upper()} against {version(package)}" in found[0].output


def test_processes_with_another_plugin_are_refused(pictures: Path, tmp_path: Path) -> None:
    """Of the same name and version, which says nothing of a checkout that somebody has changed."""
    sees = {}
    for rank, bias in enumerate(("1e-6", "1e-3")):
        site = tmp_path / f"site{rank}"
        (site / "alien-0.3.dist-info").mkdir(parents=True)
        (site / "alien.py").write_text(PLUGIN.format(bias))
        (site / "alien-0.3.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: alien\nVersion: 0.3\n")
        (site / "alien-0.3.dist-info" / "entry_points.txt").write_text("[bench.methods]\nalien = alien:Alien\n")
        sees[rank] = [Constant("sys:path", [str(site), *sys.path])]
    call = ("run", "-m", "alien", *words_of(pictures, *SMALL))
    assert [each.code for each in team(tmp_path, call, call, faults={0: sees[0], 1: sees[0]})] == [0, 0]
    found = team(tmp_path, (*call, "--force"), (*call, "--force"), faults=sees)
    refused(found, 2, "error: Process 1 has other code than process 0 (plug-ins ")
