"""The Python page, the notebook and the training script run, and give the figures of the commands."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from tests.fenced import ROOT


def test_the_blocks_of_the_python_page_run_in_order(runner: CliRunner, capsys: pytest.CaptureFixture[str]) -> None:
    page, names = ROOT / "docs" / "python.md", dict[str, Any]()
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, page.name, "exec"), names)
    assert "'query_labels'" in capsys.readouterr().out.splitlines()[-1]


def test_the_cells_of_the_notebook_run(runner: CliRunner) -> None:
    notebook, names = json.loads((ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8")), dict[str, Any]()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    shown = {"".join(each["data"]["text/html"]) for cell in notebook["cells"] for each in _tables(cell)}
    assert shown == {names["outlines"]._repr_html_()}, "the figures moved: run the notebook again and save it"
    plt.close("all")


def _tables(cell: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in cell.get("outputs", ()) if "text/html" in each.get("data", {})]


def test_the_training_script_has_the_figures_of_the_harness(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before training they are those of the run of `imagenet`, after it those of `bench score`."""
    arrays: list[Any] = []
    evaluate = bench.evaluate

    def keep(*sides: Any) -> bench.Evaluation:
        arrays[:] = sides
        return evaluate(*sides)

    monkeypatch.setattr(bench, "evaluate", keep)
    script = runpy.run_path(str(ROOT / "examples" / "train.py"))
    before, after = script["train"](bench.load_split("emoji").limited(1), epochs=1, size=32)
    run = bench.run("imagenet", limit=1, image_size=32, device="cpu", quiet=True)
    assert before.scores == pytest.approx({metric: run.scores[metric] for metric in before.scores}, abs=1e-6)
    names = ("query", "gallery", "query_labels", "gallery_labels")
    np.savez("e.npz", **{name: array.numpy() for name, array in zip(names, arrays, strict=True)})
    scored = runner.invoke(app, ["score", "e.npz", "--protocol", "standard", "--format", "json"])
    assert {each["metric"]: each["value"] for each in json.loads(scored.stdout)["scores"]} == after.scores
    assert after.scores != before.scores
