"""An import of a module that moved is explained by its new name."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import bench.moved_modules
from bench.methods.base import METHODS
from bench.moved_modules import MOVED


@pytest.mark.parametrize("new", MOVED.values())
def test_every_new_name_can_be_imported(new: str) -> None:
    assert find_spec(new)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("from methods.base import METHODS, Context", "methods.base is now bench.methods.base"),
        ("from methods import heads", "methods.heads is now bench.methods.modules.heads"),
        ("import methods.losses as losses", "methods.losses is now bench.methods.modules.losses"),
        ("from datasets.walking import (\n    Walker,\n)", "datasets.walking is now bench.datasets.published.files"),
        ("from bench.protocols.base import Protocol", "bench.protocols.base is now bench.evaluation.protocols.base"),
        ("from bench.settings import RunSettings", "bench.settings is now bench.settings.run_settings"),
        ("from bench import shards", "bench.shards is now bench.embeddings.memmap"),
        ("from datasets import load_dataset", ""),
        ("import no_such_package", ""),
        ("1 / 0", ""),
    ],
)
@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside other packages of that name"])
def test_a_failed_import_names_the_new_module(line: str, sentence: str, others: bool, tmp_path: Path) -> None:
    """In a process whose current folder may hold the user's own ``methods`` and ``datasets``."""
    for name in ("methods", "datasets", "reports") if others else ():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "plug_in.py").write_text(f"{line}\n")
    program = (
        "from bench.moved_modules import explain_import\n"
        "try:\n    import plug_in\n"
        "except Exception as error:\n    print(explain_import(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{sentence}\n"


def test_a_class_of_a_second_copy_of_our_module_is_explained_too() -> None:
    """``methods.base`` can be imported where the current folder is a checkout, and is not ``bench.methods.base``."""
    copy = type("Method", (), {"__module__": "methods.base"})
    assert METHODS._wrong(type("Mine", (copy,), {})) == "methods.base is now bench.methods.base"


def test_the_examples_in_its_docstrings() -> None:
    assert doctest.testmod(bench.moved_modules).failed == 0
