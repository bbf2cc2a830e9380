"""The server that answers sketches, and its page in a real browser."""

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

import pytest
from PIL import Image
from typer.testing import CliRunner

from bench.errors import UsageError
from bench.experiments.experiment import Resources
from bench.results.store import Store
from bench.search.searcher import Searcher, open_searcher
from bench.search.server import LARGEST, Server, is_local
from tests.browsing import chromium, problems, requests
from tests.datasets.images.test_decode import bomb, flip_bit
from tests.drawn import png, sketch


@pytest.fixture
def served(stored: CliRunner, shared_cache: Path, tmp_path: Path) -> Iterator[tuple[int, Searcher]]:
    store = Store("bench.db")
    resources = Resources(tmp_path, shared_cache, device="cpu")
    searcher = open_searcher(store.run(1), resources, photos=None, weights=None, progress=lambda done, total: None)
    store.close()
    answering = Server(searcher, "imagenet, run 1", "127.0.0.1", 0)
    thread = threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield answering.server_address[1], searcher
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
    port, searcher = served
    status, told = ask(port, "POST", "/query", png(sketch()))
    assert status == 200
    assert told["found"][0]["place"] == 1
    status, picture = ask(port, "GET", f"/photo/{told['found'][0]['position']}")
    assert status == 200
    assert Image.open(io.BytesIO(picture)).format == "WEBP"
    for method, path, body, headers, code, message in (
        ("POST", "/query", b"broken", {}, 400, "not an image"),
        ("POST", "/query", b"", {}, 400, "is an empty file"),
        ("POST", "/query", flip_bit(png(sketch())), {}, 400, "cannot be decoded"),
        ("POST", "/query", bomb(100_000, 100_000), {}, 400, "too many pixels"),
        ("POST", "/query", None, {"Content_Length": str(LARGEST + 1)}, 413, "more than 10 MB"),
        ("POST", "/other", b"x", {}, 404, "to /query"),
        ("GET", f"/photo/{len(searcher.photos)}", None, {}, 404, "nothing here"),
        ("GET", "/photo/-1", None, {}, 404, "nothing here"),
        ("GET", "/../bench.db", None, {}, 404, "nothing here"),
        ("GET", "/", None, {"Host": "evil.example"}, 403, "its own address"),
        ("POST", "/query", b"x", {"Origin": "http://evil.example"}, 403, "its own address"),
    ):
        status, told = ask(port, method, path, body, **headers)
        assert status == code, (path, told)
        assert message in told["error"]


def test_queries_at_once_do_not_mix(served: tuple[int, Searcher]) -> None:
    port, searcher = served
    drawings = [png(sketch(box=box)) for box in (0.62, 0.7, 0.8, 0.9, 0.98)]
    expected = [[each.position for each in searcher.query(content, "x", 24)] for content in drawings]
    assert len({tuple(each) for each in expected}) > 1
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda n: ask(port, "POST", "/query", drawings[n % 5]), range(20)))
    for number, (status, told) in enumerate(answers):
        assert status == 200
        assert [each["position"] for each in told["found"]] == expected[number % 5]


def test_an_address_of_the_newer_sort_is_served(served: tuple[int, Searcher]) -> None:
    _, searcher = served
    try:
        answering = Server(searcher, "imagenet, run 1", "[::1]", 0)
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
        broken.write_bytes(flip_bit(png(sketch())))
        uploading.send_keys(str(broken))
        assert wait(browser, "return document.querySelector('#note.problem') !== null", True)
        assert "cannot be decoded" in browser.find_element(By.ID, "note").text
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
