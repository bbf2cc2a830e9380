"""Names in archives come out right, and files of the system are left out."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.adding.zip_archive import ZipArchive
from tests.datasets.adding.archives import files_below, tar_of, zip_of
from tests.datasets.trees import TINY_SKETCH

E_ACUTE = "\u00e9"


def zip_with_name(name: bytes, extra: bytes = b"") -> bytes:
    """A zip with one member whose name is in these bytes, without the flag for UTF-8."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo("X" * len(name))
        member.extra = extra
        archive.writestr(member, TINY_SKETCH)
    return buffer.getvalue().replace(b"X" * len(name), name)


def unicode_path(plain: bytes, name: str) -> bytes:
    """Info-ZIP's extra field with the name in UTF-8."""
    body = struct.pack("<BL", 1, zlib.crc32(plain)) + name.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (zip_with_name(f"png/{E_ACUTE}.png".encode("cp437")), f"png/{E_ACUTE}.png"),
        (zip_with_name(f"png/{E_ACUTE}.png".encode()), f"png/{E_ACUTE}.png"),
        (zip_with_name("png/e\u0301.png".encode()), f"png/{E_ACUTE}.png"),
        (zip_with_name(b"png/?.png", unicode_path(b"png/?.png", f"png/{E_ACUTE}.png")), "png/?.png"),
        (zip_with_name(b"png/\x82.png", unicode_path(b"png/\x82.png", "png/\u4e00.png")), "png/\u4e00.png"),
        (zip_with_name(b"png\\cat\\1.png"), "png/cat/1.png"),
        (zip_of({"./png//cat/1.png": TINY_SKETCH}), "png/cat/1.png"),
    ],
    ids=["cp437", "utf-8 without flag", "NFD", "ASCII is the name", "extra field", "backslashes", "dots"],
)
def test_names_of_a_zip(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    (entry,) = ZipArchive(tmp_path / "a.zip", "a.zip", "a").entries
    assert entry.path == f"a/{expected}"


def test_a_member_without_a_name_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_with_name(b"\0.png"))
    assert ZipArchive(tmp_path / "a.zip", "a.zip", "a").entries == ()


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_files_of_the_system_are_left_out(pack: Callable[..., bytes], runner: CliRunner, tmp_path: Path) -> None:
    good = {"png/cat/1.png": TINY_SKETCH, f"png/dog/{E_ACUTE}.png": TINY_SKETCH}
    junk = (
        *("__MACOSX/png/cat/._1.png", "png/cat/._1.png", "png/cat/.DS_Store", "png/cat/Thumbs.db", "png/.git/x.png"),
        *("png/cat/@eaDir/1.png/thumb.png", "png/readme.txt", "png/cat/run.sh", "png/unicorn/1.png"),
    )
    decomposed = {path.replace(E_ACUTE, "e\u0301"): each for path, each in good.items()}
    many = {f"png/cow/{number}.png": TINY_SKETCH for number in range(10)}  # a tenth of the folders may be unknown
    more = {
        f"png/{name}/1.png": TINY_SKETCH
        for name in ("ant", "apple", "bed", "bee", "bell", "bus", "cake", "car (sedan)")
    }
    (tmp_path / "a").write_bytes(pack({**decomposed, **many, **more, **dict.fromkeys(junk, b"junk")}))
    result = runner.invoke(app, ["data", "add", "tuberlin", "a"])
    assert result.exit_code == 0, result.output
    assert files_below(tmp_path / "data" / "TUBerlin") == {**good, **many, **more}


def test_links_inside_an_archive_become_files(runner: CliRunner, tmp_path: Path) -> None:
    links = [("png/cat/2.png", "1.png"), ("png/cat/3.png", "../cat/1.png"), ("png/dog", "cat")]
    (tmp_path / "a.tar").write_bytes(tar_of({"png/cat/1.png": TINY_SKETCH}, links=links))
    assert runner.invoke(app, ["data", "add", "tuberlin", "a.tar"]).exit_code == 0
    assert files_below(tmp_path / "data") == {f"TUBerlin/png/cat/{number}.png": TINY_SKETCH for number in (1, 2, 3)}
