"""The folder in which the commands of the documentation are tried, with everything that they name."""

from __future__ import annotations

import re
import shutil
import site
import socketserver
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.methods.base import METHODS
from bench.results.store import Store
from tests.documented import ROOT
from tests.pictures import words_of, write_folder
from tests.reports.filling import everything, fill


@dataclass(frozen=True)
class Documented:
    """The folder, which is the working directory of the test."""

    path: Path

    def python(self) -> Path:
        """The interpreter of an environment that a reader's package may be installed into; ours is seen from there."""
        home = self.path / "environment"
        if not home.exists():
            venv.create(home, with_pip=False)
            (packages,) = home.glob("lib/python*/site-packages")
            (packages / "ours.pth").write_text(f"import site; site.addsitedir({site.getsitepackages()[0]!r})\n")
        return home / "bin" / "python"


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    """A folder with runs, networks, embeddings, pictures, and what of the project the commands work on."""
    folder = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        patch.setenv("BENCH_CACHE_DIR", str(folder / "cache"))
        patch.setenv("NO_COLOR", "1")
        patch.setenv("COLUMNS", "200")
        patch.setattr(socketserver.BaseServer, "serve_forever", ctrl_c)
        register_the_example_of_the_readme(patch)
        write_folder(folder / "Pictures", classes=6)
        runs(folder)
        embeddings()
        write_folder(folder / "my-drawings", classes=22, images=1)
        for modality in ("sketch", "photo"):
            own = sorted((folder / "my-drawings" / modality).iterdir())
            for path, name in zip(own, ("cat", "ice cream"), strict=False):
                path.rename(path.with_name(name))
        for name in ("sketch.png", "banana.png"):
            shutil.copy(next((folder / "Pictures" / "sketch").rglob("*.png")), name)
        Path("tables").mkdir()
        parts_of_the_project(folder)
        yield Documented(folder)


def runs(folder: Path) -> None:
    """Run 1 is a network on the pictures, runs 2 to 4 rank emoji without one; others are made up."""
    for call in (
        ["-m", "ours", "--epochs", "0.5", *words_of(Path("Pictures"))],
        ["-m", "hog", "-d", "emoji", "--limit", "2", "--seeds", "3"],
    ):
        made = CliRunner().invoke(app, ["run", *call])
        assert made.exit_code == 0, made.output
    (network,) = (folder / "cache" / "networks").iterdir()
    shutil.copy(network, "network.safetensors")
    store = Store("bench.db")
    everything(store)
    fill(store, level=0.3, dataset="sketchy", split="sketchy-21", method="imagenet")
    fill(store, level=0.2, gallery="all", method="imagenet")
    store.close()
    for name in ("a.db", "b.db", "A.db", "B.db", "node1.db", "node2.db", "old.db"):
        shutil.copy("bench.db", name)


def embeddings() -> None:
    """Files as somebody else's code may write them."""
    generator = np.random.default_rng(0)
    labels = {"query_labels": np.arange(40) % 8, "gallery_labels": np.arange(300) % 8}
    real = {"query": generator.normal(size=(40, 16)), "gallery": generator.normal(size=(300, 16))}
    for name in ("embeddings.npz", "mine.npz"):
        np.savez(name, **real, **labels)
    np.savez("codes.npz", **{side: (values > 0).astype(np.float32) for side, values in real.items()}, **labels)


def parts_of_the_project(folder: Path) -> None:
    """Copies of what commands write to, and a checkout that pip can look at."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("bench", "methods", "datasets", "reports"):
        for file in (ROOT / package).rglob("__init__.py"):
            (folder / "checkout" / file.relative_to(ROOT).parent).mkdir(parents=True)
            shutil.copy(file, folder / "checkout" / file.relative_to(ROOT).parent)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "checkout")


def register_the_example_of_the_readme(patch: pytest.MonkeyPatch) -> None:
    """As if the file were there that the page has the reader write."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    METHODS.names()  # whatever is registered by being there is registered now
    patch.setattr(METHODS, "_known", dict(METHODS._known))
    exec(compile(code, "README.md", "exec"), {})


def ctrl_c(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt
