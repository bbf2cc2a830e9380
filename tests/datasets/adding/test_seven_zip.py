"""7z archives, by py7zr."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from tests.datasets.adding.archives import files_below, zip_of
from tests.datasets.trees import TINY_PHOTO, TINY_SKETCH, picture

py7zr = pytest.importorskip("py7zr", reason="the extra `archives` is not installed")

FILES = {
    **{f"256x256/sketch/tx_000000000000/cat/n1-{number}.png": picture(seed=number) for number in range(5)},
    **{f"256x256/photo/tx_000000000000/cat/n{number}.jpg": picture("JPEG", seed=number) for number in range(3)},
    "256x256/sketch/tx_000000000000/dog/empty.png": b"",
}
OTHERS = {"256x256/sketch/tx_000100000000/cat/n1-1.png": TINY_SKETCH, "256x256/README.txt": b"hello"}


def pack(path: Path, files: Mapping[str, bytes], password: str | None = None) -> None:
    with py7zr.SevenZipFile(path, "w", password=password) as archive:
        for name, content in files.items():
            archive.writef(io.BytesIO(content), name)


def test_the_release_of_sketchy_and_its_extension(runner: CliRunner, tmp_path: Path) -> None:
    extension = {"EXTEND_image_sketchy/cat/ext_1.jpg": TINY_PHOTO}
    pack(tmp_path / "rendered_256x256.7z", {**FILES, **OTHERS})
    (tmp_path / "EXTEND_image_sketchy.zip").write_bytes(zip_of(extension))
    result = runner.invoke(app, ["data", "add", "sketchy", "rendered_256x256.7z"])
    assert (result.exit_code, "layout release" in result.stdout) == (0, True), result.output
    assert "EXTEND_image_sketchy is missing" in result.stdout
    assert "left out     2 files" in result.stdout
    result = runner.invoke(app, ["data", "add", "sketchy", "EXTEND_image_sketchy.zip"])
    assert "layout release" in result.stdout
    assert files_below(tmp_path / "data" / "Sketchy") == {**FILES, **extension}


def test_an_archive_in_it(runner: CliRunner, tmp_path: Path) -> None:
    pack(tmp_path / "outer.7z", {"inner.zip": zip_of(FILES)})
    assert runner.invoke(app, ["data", "add", "sketchy", "outer.7z"]).exit_code == 0
    assert files_below(tmp_path / "data" / "Sketchy") == FILES


def link_out(path: Path) -> None:
    folder = path.parent / "256x256" / "sketch" / "tx_000000000000" / "cat"
    folder.mkdir(parents=True)
    (path.parent / "own.png").touch()
    (folder / "1.png").symlink_to(path.parent / "own.png")
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.write(folder / "1.png", "256x256/sketch/tx_000000000000/cat/1.png")


def truncated(path: Path) -> None:
    pack(path, FILES)
    path.write_bytes(path.read_bytes()[:-20])


def damaged(path: Path) -> None:
    pack(path, FILES)
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)


BAD = {
    "encrypted": (lambda path: pack(path, FILES, "secret"), "encrypted"),
    "truncated": (truncated, "truncated or damaged"),
    "damaged": (damaged, "damaged"),
    "link": (link_out, "leads out"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive(name: str, runner: CliRunner, tmp_path: Path) -> None:
    make, reason = BAD[name]
    make(tmp_path / "a.7z")
    result = runner.invoke(app, ["data", "add", "sketchy", "a.7z"])
    assert (result.exit_code, reason in result.stderr) == (3, True), result.output
    assert not files_below(tmp_path / "data")


def test_without_the_package(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "a.7z", FILES)
    monkeypatch.setitem(sys.modules, "py7zr", None)
    result = runner.invoke(app, ["data", "add", "sketchy", "a.7z"])
    assert (result.exit_code, "'.[archives]'" in result.stderr) == (7, True)
