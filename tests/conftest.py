"""What several tests share: a quiet observer, a store in a temporary folder, a small slice of the embedded images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.experiment import Resources
from bench.store import Store


class Quiet:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.terms: list[dict[str, float]] = []

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        if terms:
            self.terms.append(dict(terms))


LONG = (  # files that take half a minute or more, the longest first
    *("test_doc_commands.py", "bench/test_distributed.py", "benchmarks/test_benchmarks.py", "bench/test_jobs.py"),
    *("bench/test_voice.py", "test_plugin.py", "bench/test_faults.py", "cli/test_new.py", "cli/test_start.py"),
    *("test_every_method.py", "cli/test_checkpoint.py", "bench/test_gallery_on_disk.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that all processes have something to do until the end."""
    here = Path(__file__).parent
    place = {here / name: number for number, name in enumerate(LONG)}
    assert all(path.is_file() for path in place)
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(autouse=True, scope="session")
def no_weights_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Torch's folder of fetched weights is empty: what a run begins with does not hang on whose machine this is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def resources(tmp_path: Path, shared_cache: Path) -> Resources:
    return Resources(data_root=tmp_path / "data", cache_dir=shared_cache, device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "bench.db"))
    yield opened
    opened.close()


@pytest.fixture
def runner(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line in an empty folder, with its store and cache out of the user's way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(shared_cache))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()
