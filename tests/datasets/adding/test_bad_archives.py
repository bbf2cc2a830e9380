"""Damaged, dangerous and wrong archives: one sentence, the exit code, and nothing is left on the disk."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from tests.datasets.adding.archives import files_below, layout_of, tar_of, zip_of
from tests.datasets.trees import TINY_PHOTO, TINY_SKETCH, plant

CAT = {"png/cat/1.png": TINY_SKETCH, "png/dog/1.png": TINY_SKETCH, "ImageResized/cat/1.jpg": TINY_PHOTO}


def encrypted() -> bytes:
    """A zip whose members have the flag of encryption."""
    content = bytearray(zip_of(CAT))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        position = content.find(mark)
        while position >= 0:
            content[position + offset] |= 1
            position = content.find(mark, position + 4)
    return bytes(content)


def zip_with_link(target: bytes) -> bytes:
    buffer = io.BytesIO(zip_of(CAT))
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("png/cat/2.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, target)
    return buffer.getvalue()


def tar_with(kind: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("png/cat/1.png")
        member.type = kind
        archive.addfile(member)
    return buffer.getvalue()


def zip_of_zeros(images: int, megabytes: int) -> bytes:
    """A zip that states images of so many ``megabytes`` each."""
    content = bytearray(zip_of({f"png/cat/{number}.bmp": bytes(10**6) for number in range(images)}))
    position = content.find(b"PK\1\2")
    while position >= 0:
        content[position + 24 : position + 28] = struct.pack("<L", megabytes * 10**6)
        position = content.find(b"PK\1\2", position + 4)
    return bytes(content)


def tar_of_zeros(gigabytes: int) -> bytes:
    """The beginning of a tar.gz that unpacks to ``gigabytes``."""
    header = tarfile.TarInfo("readme.txt")
    header.size = gigabytes * 10**9
    return gzip.compress(header.tobuf()) + gzip.compress(bytes(10**7), 9)


def zip_damaged(files: Mapping[str, bytes], method: int) -> bytes:
    """A zip with wrong bytes in the data of its first member."""
    content = bytearray(zip_of(files, method))
    content[60:80] = bytes(20)
    return bytes(content)


def damaged() -> bytes:
    """A zip with a wrong byte in the data of its first image."""
    content = bytearray(zip_of(CAT, zipfile.ZIP_STORED))
    content[content.find(TINY_SKETCH) + 5] ^= 1
    return bytes(content)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing.zip": (lambda: b"", "not an archive"),
    "text.zip": (lambda: b"hello" * 300, "not an archive"),
    "page.zip": (lambda: b"<!DOCTYPE html><title>Google Drive</title>", "web page"),
    "photos.rar": (lambda: b"Rar!\x1a\7\0", "RAR"),
    "truncated.zip": (lambda: zip_of(CAT)[:-40], "truncated"),
    "truncated.tar": (lambda: tar_of(CAT)[:1400], "truncated"),
    "truncated.tar.gz": (lambda: tar_of(CAT, "w:gz")[:150], "truncated"),
    "plain.gz": (lambda: gzip.compress(b"no tar in it" * 100), "truncated or damaged"),
    "damaged.zip": (damaged, "cannot be read"),
    "damaged-link.zip": (lambda: zip_with_link(b"1.png").replace(b"1.pngPK", b"2.pngPK"), "cannot be read"),
    "damaged-lzma.zip": (lambda: zip_damaged(CAT, zipfile.ZIP_LZMA), "cannot be read"),
    "damaged-bzip2.zip": (lambda: zip_damaged(CAT, zipfile.ZIP_BZIP2), "cannot be read"),
    "damaged-inside.zip": (lambda: zip_damaged({"in.zip": zip_of(CAT)}, zipfile.ZIP_BZIP2), "no folders"),
    "encrypted.zip": (encrypted, "encrypted"),
    "climbs.zip": (lambda: zip_of({**CAT, "png/../../evil.png": b"x"}), "leads out"),
    "climbs-by-backslash.zip": (lambda: zip_of({**CAT, "png\\..\\..\\evil.png": b"x"}), "leads out"),
    "absolute.zip": (lambda: zip_of({**CAT, "/etc/evil.png": b"x"}), "leads out"),
    "drive.zip": (lambda: zip_of({**CAT, "C:/evil.png": b"x"}), "leads out"),
    "climbs.tar": (lambda: tar_of({**CAT, "../evil.png": b"x"}), "leads out"),
    "absolute.tar": (lambda: tar_of({**CAT, "/etc/evil.png": b"x"}), "leads out"),
    "link.zip": (lambda: zip_with_link(b"../../../etc/passwd"), "leads out"),
    "link-from-root.zip": (lambda: zip_with_link(b"/etc/passwd"), "leads out"),
    "link.tar": (lambda: tar_of(CAT, links=[("png/cat/2.png", "../../../etc/passwd")]), "not safe"),
    "link-from-root.tar": (lambda: tar_of(CAT, links=[("png/cat/2.png", "/etc/passwd")]), "not safe"),
    "device.tar": (lambda: tar_with(tarfile.CHRTYPE), "not safe"),
    "pipe.tar": (lambda: tar_with(tarfile.FIFOTYPE), "not safe"),
    "zeros.zip": (lambda: zip_of_zeros(1, 4_000), "no image"),
    "many-zeros.zip": (lambda: zip_of_zeros(20, 500), "bomb"),
    "zeros.tar.gz": (lambda: tar_of_zeros(10), "bomb"),
    "case.zip": (lambda: zip_of({**CAT, "png/cat/1.PNG": b"x"}), "differ only by case"),
    "case-of-class.zip": (lambda: zip_of({**CAT, "png/Cat/2.png": b"x"}), "are both class 'cat'"),
    "spelling.zip": (lambda: zip_of({"png/cat/\u00e9.png": b"x", "png/cat/e\u0301.png": b"x"}), "are one file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive(name: str, runner: CliRunner, tmp_path: Path) -> None:
    make, reason = BAD[name]
    (tmp_path / name).write_bytes(make())
    result = runner.invoke(app, ["data", "add", "tuberlin", name])
    assert result.exit_code == 3, result.output
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert reason in sentence
    assert sentence.endswith(".")
    assert "Traceback" not in result.output
    assert not files_below(tmp_path / "data")


def test_an_archive_of_another_dataset_is_named(runner: CliRunner, tmp_path: Path) -> None:
    kind, layout = layout_of("tuberlin", "release")
    plant(tmp_path / "tu", kind, layout, per_class=1)
    (tmp_path / "my x.zip").write_bytes(zip_of({"in.zip": zip_of(files_below(tmp_path / "tu"))}))
    result = runner.invoke(app, ["data", "add", "quickdraw", "my x.zip"])
    assert result.exit_code == 3
    assert "holds tuberlin, not quickdraw: run `bench data add tuberlin 'my x.zip'`" in result.stderr


def test_no_folder_of_any_dataset(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of({"holiday/beach/1.jpg": TINY_PHOTO}))
    result = runner.invoke(app, ["data", "add", "quickdraw", "x.zip"])
    assert (result.exit_code, "x/holiday/ with 1 folder" in result.stderr) == (3, True)


def test_a_data_root_that_cannot_be_written(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of(CAT))
    result = runner.invoke(app, ["data", "add", "tuberlin", "x.zip", "--data-root", "/proc/data"])
    assert (result.exit_code, "cannot be written" in result.stderr) == (6, True), result.output


def test_too_little_space(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of(CAT))
    monkeypatch.setattr("bench.datasets.adding.disk.shutil.disk_usage", lambda folder: type("", (), {"free": 1000}))
    result = runner.invoke(app, ["data", "add", "tuberlin", "x.zip"])
    assert (result.exit_code, "are needed" in result.stderr) == (6, True)
    assert not files_below(tmp_path / "data")


def test_another_file_of_this_name_is_there(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of(CAT))
    place = tmp_path / "data" / "TUBerlin" / "png" / "cat" / "1.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    result = runner.invoke(app, ["data", "add", "tuberlin", "x.zip"])
    assert (result.exit_code, "has 4 bytes" in result.stderr) == (3, True)
    assert files_below(tmp_path / "data") == {"TUBerlin/png/cat/1.png": b"mine"}


@pytest.mark.parametrize("word", ["~nobody-of-this-name/x.zip", "x" * 300, "gone.zip"])
def test_a_file_that_is_not_there(word: str, runner: CliRunner) -> None:
    result = runner.invoke(app, ["data", "add", "tuberlin", word])
    assert (result.exit_code, "There is no file or folder" in result.stderr) == (3, True), result.output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["x.zip", "--link"], "--link needs one folder"),
        (["x.tar", "--in-place"], "is no zip"),
        (["outer.zip", "--in-place"], "is an archive in another one"),
        (["x.zip", "--copy", "--link"], "exclude each other"),
        (["ftp://host/x.zip"], "no valid http"),
    ],
)
def test_a_wrong_option(words: list[str], reason: str, runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of(CAT))
    (tmp_path / "x.tar").write_bytes(tar_of(CAT))
    (tmp_path / "outer.zip").write_bytes(zip_of({"in.zip": zip_of(CAT)}))
    result = runner.invoke(app, ["data", "add", "tuberlin", *words])
    assert (result.exit_code, reason in result.stderr) == (2, True), result.output
    assert not files_below(tmp_path / "data")


def test_a_copy_never_goes_through_a_link(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "own" / "png" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "TUBerlin").mkdir(parents=True)
    (tmp_path / "data" / "TUBerlin" / "png").symlink_to(tmp_path / "own" / "png")
    (tmp_path / "x.zip").write_bytes(zip_of(CAT))
    result = runner.invoke(app, ["data", "add", "tuberlin", "x.zip"])
    assert (result.exit_code, "is a link" in result.stderr) == (3, True)
    assert not files_below(tmp_path / "own")
