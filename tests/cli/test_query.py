"""A sketch of one's own: drawings of every sort, the run's gallery, a folder, the page in a real browser."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps
from typer.testing import CliRunner

from bench import details
from bench.cli.main import app
from bench.errors import DataError, UsageError
from bench.experiment import Resources
from bench.retrieval import Searcher, again, searcher, stored_run
from bench.serving import LARGEST, is_local, server
from bench.store import Store
from datasets.base import DATASETS
from datasets.drawings import drawing
from tests.bench.test_store import IDENTITY
from tests.browsing import chromium, problems, requests
from tests.datasets.test_decoding import bomb

SMOKE = ["--limit", "3", "--image-size", "32"]


def sketch(side: int = 200, ink: str = "black", paper: str | None = "white", *, box: float = 0.9) -> Image.Image:
    """A circle with a stem; on nothing without ``paper``."""
    image = Image.new("RGBA", (side, side), paper or (0, 0, 0, 0))
    low, high = side * (1 - box) / 2, side * (1 + box) / 2
    pen = ImageDraw.Draw(image)
    pen.ellipse((low, side / 3, high, high), outline=ink, width=8)
    pen.line((side / 2, low, side / 2, side / 3), fill=ink, width=8)
    return image


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_ink_on_white_white_on_black_and_transparent_drawings_are_one() -> None:
    plain = drawing(png(sketch().convert("RGB")), "a", 64)
    assert plain.shape == (3, 64, 64)
    for other in (
        sketch(ink="white", paper="black").convert("RGB"),
        ImageOps.invert(sketch().convert("L")),
        sketch(paper=None),
        sketch(ink="white", paper=None),
        sketch().convert("P"),
    ):
        assert (drawing(png(other), "b", 64).int() - plain.int()).abs().max() <= 2


def test_a_small_drawing_fills_its_sheet_and_a_wide_one_keeps_its_shape() -> None:
    small = drawing(png(sketch(800, box=0.2)), "a", 96)
    rows = (small.float().mean(0) < 128).any(dim=1).nonzero().flatten()
    assert int(rows[-1] - rows[0]) > 70
    wide = Image.new("RGB", (600, 100), "white")
    ImageDraw.Draw(wide).rectangle((50, 40, 550, 60), fill="black")
    ink = drawing(png(wide), "b", 96).float().mean(0) < 128
    high, across = ink.any(dim=1).sum(), ink.any(dim=0).sum()
    assert across > 70
    assert high < 10


def test_a_sketch_of_a_dataset_is_left_as_it_is() -> None:
    from datasets.images import load

    emoji = DATASETS.get("emoji")(Path())
    paths = [item.path for item in emoji.split().queries[::40]]
    same = [torch.equal(drawing(emoji.read(path), path, 96), load(emoji, path, 96)) for path in paths]
    assert np.mean(same) > 0.8


def test_a_large_drawing_is_that_of_its_small_copy() -> None:
    for mode, paper in (("L", "white"), ("RGBA", None), ("P", "white")):
        large = sketch(2400, paper=paper).convert(mode)
        small = sketch(2400, paper=paper).resize((400, 400), Image.Resampling.LANCZOS)
        assert (drawing(png(large), "a", 64).int() - drawing(png(small), "b", 64).int()).abs().float().mean() < 4


def test_a_photo_of_a_drawing_is_turned_as_the_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways: a quarter turn to the right is wanted
    file = io.BytesIO()
    sketch().convert("RGB").rotate(90).save(file, "JPEG", quality=95, exif=exif)
    plain = drawing(png(sketch()), "b", 64)
    assert (drawing(file.getvalue(), "a", 64).int() - plain.int()).abs().float().mean() < 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is an empty file"),
        (b"no picture", "it is no picture"),
        (png(sketch())[:300], "cannot be decoded"),
        (png(Image.new("RGB", (50, 50), "white")), "nothing on it is darker than its paper"),
        (png(Image.new("RGBA", (50, 50))), "every pixel is transparent"),
    ],
)
def test_what_is_no_sketch_is_told(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        drawing(content, "mine.png", 64)


@pytest.fixture
def stored(runner: CliRunner) -> CliRunner:
    ran = runner.invoke(app, ["run", "-m", "imagenet", *SMOKE])
    assert ran.exit_code == 0, ran.stderr
    return runner


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
    assert [each["position"] for each in json.loads(result.stdout)] == best[0].tolist()
    table = stored.invoke(app, ["query", "1", "mine.png", "-k", "2"])
    assert split.gallery[best[0][1]].path in table.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["codes=itq-test", "bits=64"], "part of 64 bits that agree"),
        (["codes=itq-train", "bits=32"], "part of 32 bits that agree"),
        (["rerank=icfrr", "rerank_gallery=20", "rerank_queries=20"], "cosine similarity, order re-ranked"),
    ],
)
def test_codes_and_re_ranking_of_the_run_are_applied(
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
    assert [each["position"] for each in json.loads(result.stdout)] == best[40].tolist()
    assert said in Path("found.html").read_text()


def test_a_folder_of_photos_is_embedded_once_and_broken_ones_are_left_out(stored: CliRunner) -> None:
    folder = Path("photos/fruit")
    folder.mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("b.jpg", "blue"), ("c.webp", "green")):
        Image.new("RGB", (60, 40), colour).save(folder / name)
    Path("photos/broken.png").write_bytes(b"broken")
    Path("photos/huge.png").write_bytes(bomb(100_000, 100_000))
    Path("photos/notes.txt").write_text("no picture")
    Path("mine.png").write_bytes(png(sketch()))
    call = ["query", "1", "mine.png", "--photos", "photos", "--format", "json"]
    first, again = stored.invoke(app, call), stored.invoke(app, call)
    assert first.exit_code == 0, first.stderr
    assert {each["path"] for each in json.loads(first.stdout)} == {"fruit/a.png", "fruit/b.jpg", "fruit/c.webp"}
    assert {each["class_name"] for each in json.loads(first.stdout)} == {"fruit"}
    assert first.stdout == again.stdout
    Image.new("RGB", (60, 40), "pink").save(folder / "d.png")
    assert len(json.loads(stored.invoke(app, call).stdout)) == 4


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
        (["query", "1", "mine.png", "-o", "no/out.png"], 2, "cannot be written to no/out.png"),
        (["query", "1", "mine.png", "--photos", "none"], 3, "There is no folder none"),
        (["query", "1", "mine.png", "--photos", "empty"], 3, "holds no picture"),
        (["query", "1", "mine.png", "--weights", "w.safetensors"], 2, "leave out --weights"),
        (["query", "1", "empty.png"], 3, "nothing on it is darker than its paper"),
        (["query", "1", "huge.png"], 3, "Image huge.png has too many pixels"),
        (["serve", "1", "--host", "256.1.1.1"], 2, "cannot be bound"),
    ],
)
def test_mistakes(arguments: list[str], code: int, message: str, stored: CliRunner) -> None:
    Path("mine.png").write_bytes(png(sketch()))
    Path("empty.png").write_bytes(png(Image.new("RGB", (9, 9), "white")))
    Path("huge.png").write_bytes(bomb(100_000, 100_000))
    Path("empty").mkdir()
    result = stored.invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr


@pytest.mark.parametrize("wrong", [["empty.png"], ["mine.png", "-o", "no/out.png"]])
def test_a_wrong_sketch_or_place_is_told_before_photos_are_embedded(
    wrong: list[str], stored: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.retrieval

    monkeypatch.setattr(bench.retrieval, "searcher", lambda *given, **named: pytest.fail("photos were embedded"))
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
    assert "bench run" in result.stderr


@pytest.mark.parametrize(
    ("called", "wanted"),
    [
        ("bench run -m ours --seed 1", "bench run -m ours --seed 1 --force"),
        ("bench --store .../a.db --cache-dir=.../c -q run -m ours --epochs 6", "bench run -m ours --epochs 6 --force"),
        ("bench ablate -v --store '.../my results.db' --structural", "bench ablate --structural --force"),
        ("bench run -m ours -q", "bench run -m ours --force"),
        ("", "bench run -m ours -d emoji --split emoji-93 --seed 4 --force"),
        ("python sweep.py", "bench run -m ours -d emoji --split emoji-93 --seed 4 --force"),
    ],
)
def test_the_way_to_train_a_network_again_is_the_call_of_its_run(called: str, wanted: str, store: Store) -> None:
    run = store.begin({**IDENTITY, "seed": 4, "environment": {"command": called}})
    store.finish(run, [], {})
    assert again(stored_run(store, run)) == wanted


@pytest.fixture
def served(stored: CliRunner, shared_cache: Path, tmp_path: Path) -> Iterator[tuple[int, Searcher]]:
    store = Store("bench.db")
    resources = Resources(tmp_path, shared_cache, device="cpu")
    searching = searcher(
        stored_run(store, 1), store, resources, photos=None, weights=None, progress=lambda done, total: None
    )
    store.close()
    answering = server(searching, "imagenet, run 1", "127.0.0.1", 0)
    thread = threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield answering.server_address[1], searching
    answering.shutdown()
    answering.server_close()
    thread.join()


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            method, path, body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if "json" in answer.getheader("Content-Type", "") else content
    finally:
        connection.close()


def test_the_server_answers_messages_and_pictures(served: tuple[int, Searcher]) -> None:
    port, searching = served
    status, told = ask(port, "POST", "/query", png(sketch()))
    assert status == 200
    assert told["found"][0]["place"] == 1
    status, picture = ask(port, "GET", f"/photo/{told['found'][0]['position']}")
    assert status == 200
    assert Image.open(io.BytesIO(picture)).format == "WEBP"
    for method, path, body, headers, code, message in (
        ("POST", "/query", b"broken", {}, 400, "it is no picture"),
        ("POST", "/query", b"", {}, 400, "is an empty file"),
        ("POST", "/query", bomb(100_000, 100_000), {}, 400, "too many pixels"),
        ("POST", "/query", None, {"Content_Length": str(LARGEST + 1)}, 413, "more than 10 MB"),
        ("POST", "/other", b"x", {}, 404, "to /query"),
        ("GET", f"/photo/{len(searching.photos)}", None, {}, 404, "nothing here"),
        ("GET", "/photo/-1", None, {}, 404, "nothing here"),
        ("GET", "/../bench.db", None, {}, 404, "nothing here"),
        ("GET", "/", None, {"Host": "evil.example"}, 403, "its own address"),
        ("POST", "/query", b"x", {"Origin": "http://evil.example"}, 403, "its own address"),
    ):
        status, told = ask(port, method, path, body, **headers)
        assert status == code, (path, told)
        assert message in told["error"]


def test_queries_at_once_do_not_mix(served: tuple[int, Searcher]) -> None:
    port, searching = served
    drawings = [png(sketch(box=box)) for box in (0.62, 0.7, 0.8, 0.9, 0.98)]
    expected = [[each.position for each in searching.query(content, "x", 24)] for content in drawings]
    assert len({tuple(each) for each in expected}) > 1
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda n: ask(port, "POST", "/query", drawings[n % 5]), range(20)))
    for number, (status, told) in enumerate(answers):
        assert status == 200
        assert [each["position"] for each in told["found"]] == expected[number % 5]


def test_an_address_of_the_newer_sort_is_served(served: tuple[int, Searcher]) -> None:
    _, searching = served
    try:
        answering = server(searching, "imagenet, run 1", "[::1]", 0)
    except UsageError as error:
        pytest.skip(f"this machine has no such address: {error}")
    thread = threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    connection = http.client.HTTPConnection("::1", answering.server_address[1], timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    answering.shutdown()
    answering.server_close()
    thread.join()


def test_which_addresses_reach_this_machine_alone() -> None:
    assert all(map(is_local, ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")))
    assert not any(map(is_local, ("0.0.0.0", "::", "192.168.1.2", "example.org")))


def test_drawing_with_a_mouse_brings_photos(served: tuple[int, Searcher], tmp_path: Path) -> None:
    port, _ = served
    address = f"http://127.0.0.1:{port}/"
    with chromium(tmp_path) as browser:
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.by import By

        phone = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.get(address)
        pad = browser.find_element(By.ID, "pad")
        stroke = ActionChains(browser, duration=20).move_to_element_with_offset(pad, -80, -60).click_and_hold()
        for x, y in ((40, 90), (60, 0), (50, -80)):
            stroke = stroke.move_by_offset(x, y)
        stroke.release().perform()
        results = wait(browser, "return document.querySelectorAll('#results img').length", 24)
        assert results == 24
        assert "found in" in browser.find_element(By.ID, "note").text
        uploading = browser.find_element(By.ID, "file")
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"broken")
        uploading.send_keys(str(broken))
        assert wait(browser, "return document.querySelector('#note.problem') !== null", True)
        assert "it is no picture" in browser.find_element(By.ID, "note").text
        expected = [each for each in problems(browser) if "400" not in each]  # the browser notes the refusal itself
        assert expected == []
        mine = tmp_path / "mine.png"
        mine.write_bytes(png(sketch()))
        uploading.send_keys(str(mine))
        assert wait(browser, "return document.querySelector('#note.problem') === null", True)
        dark = "return pen.getImageData(0, 0, 512, 512).data.filter((v, n) => n % 4 === 0 && v < 99).length / 512 / 512"
        assert wait(browser, f"{dark} > 0.03", True), "the pad shows what was sent"
        browser.find_element(By.ID, "clear").click()
        assert wait(browser, dark, 0) == 0
        assert wait(browser, "return document.querySelectorAll('#results img').length", 0) == 0
        assert [url for url in requests(browser) if not url.startswith(address)] == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400


def wait(browser: Any, script: str, value: object, seconds: float = 30) -> object:
    """What a script returns, once it is ``value`` or time is over."""
    end = time.monotonic() + seconds
    while (found := browser.execute_script(script)) != value and time.monotonic() < end:
        time.sleep(0.1)
    return found
