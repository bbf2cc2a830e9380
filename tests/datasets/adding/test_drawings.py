"""Sketches are drawn from Quick, Draw!'s files and from SVG: the right lines, the same choice, damage said once."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resvg_py
from PIL import Image
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.adding.drawings import Draw, NdjsonFile
from bench.datasets.adding.strokes import draw_bitmap, draw_strokes, parse_drawing
from bench.datasets.adding.svg import draw_svg
from bench.datasets.base import DATASETS
from tests.datasets.adding.archives import files_below, layout_of, zip_of
from tests.datasets.trees import plant

SPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SVG = f'<svg {SPACES} viewBox="0 0 800 800">{{}}</svg>'
LINE = '<path d="M100 400 L700 400" fill="none" stroke="black" stroke-width="8"/>'
HOUSE = [
    [[0, 0, 127, 255, 255, 0], [255, 100, 0, 100, 255, 255]],
    [[100, 100, 150, 150], [255, 180, 180, 255]],
    [[9], [9]],
]


def pixels(png: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=np.int64)


def line_of(key: int, drawing: object = HOUSE, **more: object) -> str:
    return json.dumps({"key_id": str(key), "word": "x", "recognized": True, "drawing": drawing, **more})


def strokes_of(drawing: object) -> list[Any]:
    return parse_drawing(line_of(1, drawing).encode())


# Rendering


def test_a_line_has_the_published_width_and_round_ends() -> None:
    ink = pixels(draw_strokes(strokes_of([[[0, 255], [0, 0]]]))) < 128
    width = 16 * 256 / 304
    assert abs(ink[:, 128].sum() - width) <= 1
    assert abs(ink[128].sum() - (255 * 256 / 304 + width)) <= 1
    rows = np.flatnonzero(ink.any(axis=1))
    assert abs(rows.mean() - 127.5) <= 0.5
    ends = [int(np.flatnonzero(ink[row])[0]) for row in (rows[0], 128)]
    assert ends[0] - ends[1] > 3  # round


def test_raw_strokes_of_any_place_and_scale_give_the_same_picture() -> None:
    raw = [[[7.5 * x + 311 for x in xs], [7.5 * y + 95 for y in ys], [*range(len(xs))]] for xs, ys in HOUSE]
    assert np.abs(pixels(draw_strokes(strokes_of(raw))) - pixels(draw_strokes(strokes_of(HOUSE)))).max() <= 1


def test_another_renderer_draws_the_same() -> None:
    paths = "".join(f"M{' L'.join(f'{x} {y}' for x, y in zip(*stroke, strict=True))}" for stroke in HOUSE[:2])
    pen = 'fill="none" stroke="black" stroke-width="16" stroke-linecap="round" stroke-linejoin="round"'
    # The middle of 0 to 255 is the middle of the canvas.
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-24.5 -24.5 304 304"><path d="{paths}" {pen}/></svg>'
    theirs = pixels(resvg_py.svg_to_bytes(svg_string=svg, width=256, height=256, background="white"))
    difference = np.abs(pixels(draw_strokes(strokes_of(HOUSE[:2]))) - theirs)
    assert difference.mean() < 1
    assert (difference > 64).mean() < 0.001


def test_a_bitmap_becomes_black_on_white() -> None:
    row = np.arange(784, dtype=np.uint8)
    assert (pixels(draw_bitmap(row)) == 255 - row.reshape(28, 28)).all()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"key_id": "1"}',
        line_of(1, []).encode(),
        line_of(1, [[[1, 2], [3]]]).encode(),
        line_of(1, [[[], []]]).encode(),
        line_of(1, [[["a"], ["b"]]]).encode(),
        line_of(1, [[[float("nan")], [0]]]).encode(),
        line_of(1, [[[1e300, 0], [0, 1]]]).encode(),
        line_of(1, {"x": 1}).encode(),
        line_of(1, [7]).encode(),
        b'{"drawing": ' + b"[" * 100_000,
    ],
)
def test_a_damaged_drawing_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        parse_drawing(line)


# The choice


def test_the_choice_depends_on_seed_and_ids_alone() -> None:
    ids = [(str(key), key) for key in range(200)]
    some = Draw(20, 1).choose(iter(ids))
    random.Random(0).shuffle(ids)
    assert Draw(20, 1).choose(iter(ids)).keys() == some.keys()
    assert some.keys() < Draw(30, 1).choose(iter(ids)).keys()
    assert Draw(20, 2).choose(iter(ids)).keys() != some.keys()
    assert len(Draw(999).choose(iter(ids))) == 200


# The command


@pytest.fixture
def photos(tmp_path: Path) -> bytes:
    """QuickDraw's photos, one of each class, as an archive."""
    kind, layout = layout_of("quickdraw", "doodle2search")
    plant(tmp_path / "planted", kind, layout, per_class=1)
    return zip_of(files_below(tmp_path / "planted", layout.photos[0]))


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """A folder of a file for each class of QuickDraw with 4 drawings: simplified, and two classes as bitmaps."""
    folder = tmp_path / "quickdraw_dataset" / "full"
    folder.mkdir(parents=True)
    names = DATASETS.get("quickdraw")(tmp_path).names.canonical  # type: ignore[attr-defined]
    for number, name in enumerate(sorted(names)):
        if number < 2:
            np.save(folder / f"full_numpy_bitmap_{name}.npy", np.full((4, 784), number, dtype=np.uint8))
        else:
            lines = [line_of(1000 * number + each) for each in range(4)]
            (folder / f"full_simplified_{name}.ndjson").write_text("\n".join(lines) + "\n")
    return folder


def add(runner: CliRunner, *words: str) -> Any:
    return runner.invoke(app, ["data", "add", *words])


def test_a_folder_of_drawings_and_an_archive_of_photos_are_a_dataset(
    runner: CliRunner, drawings: Path, photos: bytes
) -> None:
    Path("photos.zip").write_bytes(photos)
    (drawings / "full_simplified_angel.ndjson").write_text("not read: QuickDraw Extended has no such class")
    done = add(runner, "quickdraw", str(drawings), "photos.zip", "--sketches", "3", "--seed", "5")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("usable\n")
    split = DATASETS.get("quickdraw")(Path("data")).split()
    assert (len(split.queries), split.name) == (30 * 3, "quickdraw-30")
    listed = [line.split("\t") for line in Path("data/QuickDraw/drawn-sketches.tsv").read_text().splitlines()[1:]]
    assert len(listed) == 330
    assert {item.path for item in split.queries} <= {row[0] for row in listed}
    keys = {Path(row[0]).stem for row in listed if "/bat/" in row[0]}
    assert keys == Draw(3, 5).choose((f"{key}", key) for key in map(int, keys)).keys()
    again = add(runner, "quickdraw", str(drawings), "photos.zip", "--sketches", "3", "--seed", "5")
    assert (again.exit_code, "440 there before" in again.stdout) == (0, True)


def test_an_interrupted_drawing_goes_on(
    runner: CliRunner, drawings: Path, photos: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("photos.zip").write_bytes(photos)
    drawn: list[str] = []
    draw = NdjsonFile.draw

    def stop(self: NdjsonFile, entry: Any) -> bytes:
        drawn.append(entry.path)
        if len(drawn) == 50:
            raise KeyboardInterrupt
        return draw(self, entry)

    monkeypatch.setattr(NdjsonFile, "draw", stop)
    words = ("quickdraw", str(drawings), "photos.zip", "--sketches", "1")
    assert add(runner, *words).exit_code == 130
    assert not Path("data/QuickDraw").exists()
    assert add(runner, *words).exit_code == 0
    assert len(drawn) == 108 + 1  # the one that was interrupted is drawn again


def test_damaged_lines_are_left_out_and_said_once(
    runner: CliRunner, photos: bytes, drawings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("photos.zip").write_bytes(photos)
    lines = [line_of(1), "not a drawing", line_of(2, [[[1], []]]), line_of(3)]
    (drawings / "full_simplified_bat.ndjson").write_text("\n".join(lines))
    done = add(runner, "quickdraw", str(drawings), "photos.zip", "--sketches", "4")
    assert done.exit_code == 0, done.output
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "2 of its drawings are left out, first line 2" in said
    assert len([*Path("data/QuickDraw/QuickDraw_sketches_final/bat").iterdir()]) == 2


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bat.ndjson", b"no drawing at all\n"),
        ("bat.ndjson", b""),
        ("bat.npy", npy(np.zeros((3, 28), dtype=np.uint8))),
        ("bat.npy", npy(np.zeros((3, 784)))),
        ("bat.npy", npy(np.array([{"a": 1}], dtype=object), allow_pickle=True)),
        ("bat.npy", npy(np.zeros((3, 784), dtype=np.uint8))[:-9]),
        ("bat.npy", zip_of({"bat.npy": npy(np.zeros((3, 784), dtype=np.uint8))})),
    ],
)
def test_a_file_without_drawings_is_one_sentence(name: str, content: bytes, runner: CliRunner) -> None:
    Path(name).write_bytes(content)
    done = add(runner, "quickdraw", name)
    assert (done.exit_code, name in done.stderr) == (3, True), done.output
    assert "Traceback" not in done.output
    assert not Path("data/QuickDraw").exists()


# SVG


def test_svg_sketches_of_an_archive_are_drawn_beside_photos(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.datasets.adding.svg.SIDE", 200)
    kind, layout = layout_of("tuberlin", "release")
    plant(tmp_path / "tu", kind, layout, per_class=1)
    files = files_below(tmp_path / "tu", layout.sketches[0])
    svg = {f"svg/{'/'.join(path.split('/')[-2:])[:-4]}.svg": SVG.format(LINE).encode() for path in files}
    svg["svg/airplane/2.svg"] = b"<html/>"
    Path("svg.zip").write_bytes(zip_of(svg))
    done = add(runner, "tuberlin", "svg.zip", str(tmp_path / "tu" / layout.photos[0]))
    assert done.exit_code == 0, done.output
    assert "250 copied" in done.stdout
    dataset = DATASETS.get("tuberlin")(Path("data"))
    ink = pixels(dataset.read(dataset.split().queries[0].path)) < 128
    assert ink.shape == (200, 200)
    assert int(ink[:, 100].sum()) == 2
    again = add(runner, "tuberlin", "svg.zip")
    assert (again.exit_code, "250 there before" in again.stdout) == (0, True), again.output


def test_svg_sketches_alone_are_drawn_once(runner: CliRunner) -> None:
    Path("svg.zip").write_bytes(zip_of({"svg/airplane/1.svg": SVG.format(LINE).encode()}))
    assert add(runner, "tuberlin", "svg.zip").exit_code == 0
    assert len(files_below(Path("data"))) == 1


def test_files_of_one_name_in_an_archive_are_two_files(runner: CliRunner) -> None:
    Path("q.zip").write_bytes(zip_of({f"{key}/bat.ndjson": line_of(key).encode() for key in (1, 2)}))
    assert "2 copied" in add(runner, "quickdraw", "q.zip").stdout


@pytest.mark.parametrize(
    "content",
    [
        SVG.format('<image xlink:href="/etc/passwd" width="9" height="9"/>'),
        SVG.format("<script>1</script>"),
        SVG.format('<g id="a"><path d="M0 0"/></g><use xlink:href="#a"/>'),
        SVG.format("<style>@import url(http://127.0.0.1)</style>"),
        '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + SVG.format("<desc>&b;</desc>"),
        "<html/>",
        SVG.format("<path"),
        SVG.format("<g>" * 500 + "</g>" * 500),
        LINE,
        "\x00",
    ],
)
def test_an_svg_with_more_than_shapes_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|holds|declares|cannot) "):
        draw_svg(content.encode())


def test_svg_without_its_package_is_one_sentence(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    Path("svg/airplane").mkdir(parents=True)
    Path("svg/airplane/1.svg").write_text(SVG.format(LINE))
    done = add(runner, "tuberlin", "svg")
    assert (done.exit_code, "'.[svg]'" in done.stderr) == (7, True), done.output
