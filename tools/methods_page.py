"""docs/methods.md, made from the methods themselves: what each implements and leaves out, and every setting.

Run ``python -m tools.methods_page`` to write it again; a test fails when it is out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.datasets.base import DATASETS
from bench.methods.base import METHODS, Method
from bench.methods.modules.single_network import NetworkSettings
from bench.settings.describe import Description, describe
from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import RunSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods.md"
FIRST = ("ours", "imagenet", "hog", "softmax", "triplet", "sake", "supcon")
HEAD = """# Methods and settings

Made from the methods by `python -m tools.methods_page`. What the framework computes stands in [The method](method.md),
formula by formula; here is what each baseline implements, what it leaves out and why, and everything that
`--set KEY=VALUE` changes.
`bench list settings METHOD -d DATASET` prints the same with a dataset's defaults, also for methods of another package.
"""


def render() -> str:
    """The whole page."""
    names = [*FIRST, *(name for name, _ in METHODS.items() if name not in FIRST)]
    methods = [METHODS.get(name) for name in names]
    parts = [HEAD, *(of_method(each) for each in methods if each.__module__.startswith("bench.methods."))]
    parts += [
        "## Settings of every trained method\n\nDefaults here are those of a folder of your own; a dataset has its "
        "own, as [The method](method.md#settings) says for the published ones and `emoji`.\n",
        table(describe(RunSettings())),
        "What those with a network add:\n",
        table(describe(NetworkSettings())),
        "## Settings of what follows the embedding\n\nA choice of any run, in its key and in the table.\n",
        table(describe(PostProcessing())),
        "## Settings of datasets\n",
    ]
    for name, dataset in DATASETS.items():
        if (rows := describe(dataset.Settings())) and dataset.__module__.startswith("bench.datasets."):
            parts += [f"`{name}`\n", table(rows)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def of_method(method: type[Method]) -> str:
    """One method: what its file says, its ablations, its own settings."""
    said = inspect.getdoc(sys.modules[method.__module__]) or ""
    text = re.sub(r"``([^`]+)``", r"`\1`", said)
    shared = {each.name for each in describe(NetworkSettings())}
    own = [each for each in describe(method.Settings()) if each.name not in shared]
    terms = ", ".join(f"`{term}`" for term in method.terms) or "none, nothing is trained"
    parts = [f"## `{method.name}`", text, f"Loss terms: {terms}."]
    if method.structural:
        changes = (
            f"`{name}` ({', '.join(f'`{key}={str(value).lower()}`' for key, value in each.items())})"
            for name, each in method.structural.items()
        )
        parts.append(f"Structural ablations: {', '.join(changes)}.")
    return "\n\n".join([*parts, *([table(own)] if own else [])]) + "\n"


def table(rows: Iterable[Description]) -> str:
    """Settings as a table."""
    lines = ["| setting | default | takes | what it is |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{each.name}` | {f'`{each.default}`' if each.default else 'empty'} | {each.takes} | {each.meaning} |"
        for each in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
