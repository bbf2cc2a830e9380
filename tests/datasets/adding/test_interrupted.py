"""`bench data add` killed at any point, interrupted, or on a full disk: nothing is half there, and it goes on."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.datasets.adding import serving as answers
from tests.datasets.adding.archives import files_below, zip_of
from tests.datasets.adding.serving import serving
from tests.processes import Changed, Fault, bench

CLASSES = ("cat", "dog", "cow", "bus")
RANDOM = random.Random(0)
FILES = {
    f"{folder}/{name}/{number}.png": RANDOM.randbytes(5_000)
    for folder in ("png", "ImageResized")
    for name in CLASSES
    for number in range(4)
}
ADDED = {f"TUBerlin/{path}": content for path, content in FILES.items()}
ADDING = "bench.datasets.adding"
ONLINE = Changed(f"{ADDING}.download:offline_by", "")
INCOMPLETE = 3  # 4 of 250 classes: placed, and not usable
POINTS = {
    "while it downloads": Fault(f"{ADDING}.download:_Download._next", 1),
    "while an archive in it is unpacked": Fault(f"{ADDING}.sources:os.replace", 2),  # the first one is of a state
    "while it copies": Fault(f"{ADDING}.place:_Writer.write", 20),
    "before it moves the copies": Fault(f"{ADDING}.place:_merge", 1),
    "before the check": Fault("bench.cli.data_table:placed_lines", 1),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_repeated(point: str, tmp_path: Path) -> None:
    fault = POINTS[point]
    with serving(zip_of({"inner.zip": zip_of(FILES)}), answers.whole) as server:
        words = ("data", "add", "tuberlin", f"{server.url}/tu.zip")
        killed = bench(tmp_path, *words, faults=[ONLINE, fault])
        assert killed.code == -signal.SIGKILL, killed.output
        assert (tmp_path / "data" / "TUBerlin").exists() == (point == "before the check")
        ended = bench(tmp_path, *words, faults=[ONLINE])
        assert ended.code == INCOMPLETE, ended.output
        assert files_below(tmp_path / "data") == ADDED
        whole_downloads = [each for each in server.ranges if each is None]
        assert len(whole_downloads) == (2 if point == "before the check" else 1)


def test_killed_while_it_moves_and_repeated(tmp_path: Path) -> None:
    """The dataset's folder is there already, so that folders are moved one after the other."""
    kept = tmp_path / "data" / "TUBerlin" / "png" / "ant" / "1.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"mine")
    (tmp_path / "tu.zip").write_bytes(zip_of(FILES))
    words = ("data", "add", "tuberlin", "tu.zip")
    assert bench(tmp_path, *words, faults=[Fault(f"{ADDING}.place:_merge", 2)]).code == -signal.SIGKILL
    assert bench(tmp_path, *words).code == INCOMPLETE
    assert files_below(tmp_path / "data") == {**ADDED, "TUBerlin/png/ant/1.png": b"mine"}


def test_what_was_copied_is_not_copied_again(tmp_path: Path) -> None:
    (tmp_path / "tu.zip").write_bytes(zip_of(FILES))
    words = ("data", "add", "tuberlin", "tu.zip")
    write = f"{ADDING}.place:_Writer.write"
    interrupted = bench(tmp_path, *words, faults=[Fault(write, 11, signal.SIGINT)])
    assert (interrupted.code, "Interrupted" in interrupted.output) == (130, True)
    rest = len(FILES) - 10
    assert bench(tmp_path, *words, faults=[Fault(write, rest + 2)]).code == INCOMPLETE  # it is never reached
    assert files_below(tmp_path / "data") == ADDED


@pytest.mark.parametrize("by_address", [False, True])
def test_a_disk_that_is_full_in_the_middle(by_address: bool, tmp_path: Path) -> None:
    content = zip_of({**FILES, "png/cat/large.png": RANDOM.randbytes(300_000)})
    (tmp_path / "tu.zip").write_bytes(content)
    with serving(content, answers.whole) as server:
        source = f"{server.url}/tu.zip" if by_address else "tu.zip"
        full = bench(tmp_path, "data", "add", "tuberlin", source, faults=[ONLINE], file_limit=200_000)
        assert (full.code, "free some space" in full.output) == (6, True), full.output
    assert list((tmp_path / "data").rglob("*")) == []
