"""A sketch of one's own: the gallery of a run, a folder of photos, the network that is gone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.base import DATASETS
from bench.results import details
from bench.results.store import Store
from tests.cli.conftest import SMOKE
from tests.datasets.images.test_decode import bomb, flip_bit
from tests.drawn import png, sketch


def test_a_query_of_the_dataset_gives_what_its_run_gave(stored: CliRunner, tmp_path: Path) -> None:
    emoji = DATASETS.get("emoji")(tmp_path)
    split = emoji.split().limited(3)
    store = Store("bench.db")
    content = store.detail(1, details.TOP)
    store.close()
    assert content is not None
    best = details.top(content).positions
    item = split.queries[0]
    Path("mine.png").write_bytes(emoji.read(item.path))
    result = stored.invoke(app, ["query", "1", "mine.png", "-k", "10", "--format", "json"])
    assert result.exit_code == 0, result.stderr
    assert [each["position"] for each in json.loads(result.stdout)["photos"]] == best[0].tolist()
    table = stored.invoke(app, ["query", "1", "mine.png", "-k", "2"])
    assert split.gallery[best[0][1]].path in table.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["codes=itq-test", "bits=64"], "part of 64 bits that agree"),
        (["codes=itq-train", "bits=32"], "part of 32 bits that agree"),
        (["test_size=40", "test_mirror=true"], "cosine similarity"),
        (["rerank=icfrr", "rerank_gallery=20", "rerank_queries=20"], "cosine similarity, order re-ranked"),
    ],
)
def test_what_followed_the_training_of_the_run_is_applied(
    settings: list[str], said: str, runner: CliRunner, tmp_path: Path
) -> None:
    chosen = [part for setting in settings for part in ("--set", setting)]
    ran = runner.invoke(app, ["run", "-m", "imagenet", *SMOKE, *chosen])
    assert ran.exit_code == 0, ran.stderr
    emoji = DATASETS.get("emoji")(tmp_path)
    store = Store("bench.db")
    content = store.detail(1, details.TOP)
    store.close()
    assert content is not None
    best = details.top(content).positions
    Path("mine.png").write_bytes(emoji.read(emoji.split().limited(3).queries[40].path))
    result = runner.invoke(app, ["query", "1", "mine.png", "-k", "10", "--format", "json", "-o", "found.html"])
    assert result.exit_code == 0, result.stderr
    assert [each["position"] for each in json.loads(result.stdout)["photos"]] == best[40].tolist()
    assert said in Path("found.html").read_text()


def test_a_folder_of_photos_is_embedded_once_and_broken_ones_are_left_out(stored: CliRunner) -> None:
    folder = Path("photos/fruit")
    folder.mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("b.jpg", "blue"), ("c.webp", "green")):
        Image.new("RGB", (60, 40), colour).save(folder / name)
    Path("photos/broken.png").write_bytes(b"broken")
    Path("photos/flipped.png").write_bytes(flip_bit(png(sketch())))
    Path("photos/huge.png").write_bytes(bomb(100_000, 100_000))
    Path("photos/notes.txt").write_text("no picture")
    Path("mine.png").write_bytes(png(sketch()))
    call = ["query", "1", "mine.png", "--photos", "photos", "--format", "json"]
    first, again = stored.invoke(app, call), stored.invoke(app, call)
    assert first.exit_code == 0, first.stderr
    assert {each["path"] for each in json.loads(first.stdout)["photos"]} == {
        "fruit/a.png",
        "fruit/b.jpg",
        "fruit/c.webp",
    }
    assert {each["class_name"] for each in json.loads(first.stdout)["photos"]} == {"fruit"}
    assert first.stdout == again.stdout
    Image.new("RGB", (60, 40), "pink").save(folder / "d.png")
    assert len(json.loads(stored.invoke(app, call).stdout)["photos"]) == 4


def test_a_strip_and_a_page_hold_the_pictures(stored: CliRunner) -> None:
    Path("mine.png").write_bytes(png(sketch(ink="white", paper=None)))
    for name in ("strip.png", "page.html"):
        result = stored.invoke(app, ["query", "1", "mine.png", "-k", "12", "-o", name])
        assert result.exit_code == 0, result.stderr
        assert result.stdout == ""
    with Image.open("strip.png") as picture:
        assert picture.width > 1000
        assert picture.height == 2 * (128 + 24 + 8) + 8
        asked = np.asarray(picture.convert("L"))[10:134, 10:134]  # white ink on nothing would not show on the page
        assert 0.02 < (asked < 100).mean() < 0.3
    text = Path("page.html").read_text()
    assert text.count("<img ") == 13
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query", "9", "mine.png"], 4, "There is no run 9"),
        (["query", "1", "none.png"], 3, "Sketch none.png cannot be read"),
        (["query", "1", "mine.png", "-o", "out.gif"], 2, "written as .png or .html, not as out.gif"),
        (["query", "1", "mine.png", "-o", "mine.png/out.png"], 2, "mine.png/out.png cannot be written"),
        (["query", "1", "mine.png", "--photos", "none"], 3, "There is no folder none"),
        (["query", "1", "mine.png", "--photos", "empty"], 3, "holds no picture"),
        (["query", "1", "mine.png", "--weights", "w.safetensors"], 2, "leave out --weights"),
        (["query", "1", "empty.png"], 3, "darker than"),
        (["query", "1", "flipped.png"], 3, "Image flipped.png cannot be decoded"),
        (["query", "1", "huge.png"], 3, "Image huge.png has too many pixels"),
        (["serve", "1", "--host", "256.1.1.1"], 2, "cannot be bound"),
    ],
)
def test_mistakes(arguments: list[str], code: int, message: str, stored: CliRunner) -> None:
    Path("mine.png").write_bytes(png(sketch()))
    Path("empty.png").write_bytes(png(Image.new("RGB", (9, 9), "white")))
    Path("huge.png").write_bytes(bomb(100_000, 100_000))
    Path("flipped.png").write_bytes(flip_bit(png(sketch())))
    Path("empty").mkdir()
    result = stored.invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr


@pytest.mark.parametrize("wrong", [["empty.png"], ["mine.png", "-o", "mine.png/out.png"]])
def test_a_wrong_sketch_or_place_is_told_before_photos_are_embedded(
    wrong: list[str], stored: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.search.searcher

    monkeypatch.setattr(
        bench.search.searcher, "open_searcher", lambda *given, **named: pytest.fail("photos were embedded")
    )
    Path("mine.png").write_bytes(png(sketch()))
    Path("empty.png").write_bytes(png(Image.new("RGB", (9, 9), "white")))
    assert stored.invoke(app, ["query", "1", *wrong]).exit_code in (2, 3)


def test_a_trained_network_that_is_gone_is_told_with_the_way_to_make_it_again(
    runner: CliRunner, tmp_path: Path
) -> None:
    ran = runner.invoke(app, ["run", "-m", "softmax", "--limit", "1", "--image-size", "32", "--epochs", "0.05"])
    assert ran.exit_code == 0, ran.stderr
    Path("mine.png").write_bytes(png(sketch()))
    assert runner.invoke(app, ["query", "1", "mine.png"]).exit_code == 0
    result = runner.invoke(app, ["query", "1", "mine.png", "--cache-dir", str(tmp_path / "another")])
    assert result.exit_code == 7
    assert "The network of run 1 is not in the cache folder" in result.stderr
    split = "bench run -m softmax -d emoji --split emoji-93 --seed 0"
    assert f"`{split} --set image_size=32 --set epochs=0.05 --limit 1 --force`" in result.stderr
