"""Images that are read from a zip without unpacking it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.images.loader import map_in_order
from bench.datasets.published.files import Walker, read_file, size_of, stamp_of
from bench.datasets.published.in_place import FOLDER
from bench.errors import DataError
from tests.datasets.adding import serving as answers
from tests.datasets.adding.archives import zip_of
from tests.datasets.adding.serving import serving
from tests.datasets.trees import picture

FILES = {f"png/cat/{number}.png": picture(seed=number) for number in range(8)}
FILES |= {f"ImageResized/dog/{number}.jpg": picture("JPEG", seed=number) for number in range(8)}
ROOT = Path("data/TUBerlin")


@pytest.fixture
def archive(runner: CliRunner, tmp_path: Path) -> Path:
    path = tmp_path / "tu.zip"
    path.write_bytes(zip_of(FILES))
    assert runner.invoke(app, ["data", "add", "tuberlin", "tu.zip", "--in-place"]).exit_code == 3  # few classes
    return path


def test_files_and_folders_are_listed_and_read(archive: Path) -> None:
    walker = Walker(ROOT)
    assert walker.listing("").folders == ("ImageResized", "png")
    assert walker.listing("png/cat").images == tuple(f"{number}.png" for number in range(8))
    assert (walker.is_folder("png"), walker.is_folder("png/dog")) == (True, False)
    assert [read_file(ROOT, path) for path in FILES] == list(FILES.values())
    assert [size_of(ROOT, path) for path in FILES] == [len(content) for content in FILES.values()]
    with pytest.raises(DataError, match="cannot be read"):
        read_file(ROOT, "png/cat/none.png")


def test_threads_share_the_archive(archive: Path) -> None:
    paths = [*FILES] * 20
    assert list(map_in_order(lambda path: read_file(ROOT, path), paths, workers=4)) == [FILES[path] for path in paths]


def test_a_file_beside_the_archive_comes_first(archive: Path) -> None:
    (ROOT / "png" / "cat").mkdir(parents=True)
    (ROOT / "png" / "cat" / "0.png").write_bytes(b"mine")
    assert read_file(ROOT, "png/cat/0.png") == b"mine"
    assert len(Walker(ROOT).listing("png/cat").images) == 8


def test_an_archive_that_was_moved_is_added_again(archive: Path, runner: CliRunner, tmp_path: Path) -> None:
    for place in ("a", "b", "c"):
        (tmp_path / place).mkdir()
        archive = archive.rename(tmp_path / place / "tu.zip")
        assert runner.invoke(app, ["data", "add", "tuberlin", str(archive), "--in-place"]).exit_code == 3
        assert read_file(ROOT, "png/cat/0.png") == FILES["png/cat/0.png"]


@pytest.mark.parametrize("change", ["changed", "damaged", "gone"])
def test_an_archive_that_is_not_what_it_was(change: str, archive: Path) -> None:
    before = stamp_of(ROOT, FILES)
    content, times = bytearray(archive.read_bytes()), archive.stat()
    archive.unlink()
    if change == "changed":
        archive.write_bytes(content + b" ")
    elif change == "damaged":
        content[content.find(FILES["png/cat/0.png"][:30]) + 3] ^= 1
        content[60] ^= 255
        archive.write_bytes(content)
        os.utime(archive, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError) as caught:
        read_file(ROOT, "png/cat/0.png")
    assert str(archive) in str(caught.value)
    assert stamp_of(ROOT, FILES) == before  # of the index


def test_a_damaged_index(archive: Path) -> None:
    (index,) = (ROOT / FOLDER).iterdir()
    index.unlink()  # the folder's time is the index's time
    index.write_text(json.dumps({"archive": "x"}))
    with pytest.raises(DataError, match="delete it"):
        Walker(ROOT).listing("png")


def test_a_download_stays_and_moves_with_its_folder(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    with serving(zip_of(FILES), answers.whole) as server:
        result = runner.invoke(app, ["data", "add", "tuberlin", f"{server.url}/tu.zip", "--in-place"])
    assert "kept         data/.downloads/" in result.stdout
    (tmp_path / "data").rename(tmp_path / "moved")
    assert read_file(Path("moved/TUBerlin"), "png/cat/1.png") == FILES["png/cat/1.png"]
