"""What the documentation says is true: links lead somewhere, commands parse, the README's example runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from bench.cli.commands.show import RUN, Show
from bench.cli.main import app
from bench.experiments.request import Resources
from bench.methods.base import METHODS, Context
from bench.settings.run_settings import RunSettings

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
)
COMMANDS: Any = typer.main.get_command(app)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def calls(page: Path) -> list[str]:
    """Lines of code blocks and inline code that call ``bench``, without the words that explain them."""
    text = page.read_text()
    inline = re.findall(r"`(bench [a-z]+[^`]*)`", text)
    blocks = [line.strip() for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    indented = [line.strip() for line in text.splitlines() if line.startswith("    bench ")]
    found = [*inline, *(line for line in (*blocks, *indented) if line.startswith("bench "))]
    return sorted({re.split(r"\s{2,}|\s#\s", line)[0] for line in found})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_exists(page: Path) -> None:
    wrong = []
    for call in calls(page):
        words = shlex.split(call.replace("...", ""))[1:]
        command = COMMANDS
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            # Some lines name alternatives: `bench data check|path|list`.
            names = words.pop(0).split("|")
            unknown = [name for name in names if name not in command.commands]
            if unknown and isinstance(command, Show):  # `bench show 3`, `bench show RUN`
                command = command.commands[RUN]
                break
            if unknown:
                wrong.append(f"{call}: no command {unknown[0]}")
                break
            command = command.commands[names[0]]
        options = {
            option for each in (command, COMMANDS) for p in each.params for option in (*p.opts, *p.secondary_opts)
        }
        wrong += [
            f"{call}: no option {word}"
            for word in words
            if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options
        ]
    assert not wrong


def test_the_results_are_those_of_the_stored_runs(runner: CliRunner, tmp_path: Path) -> None:
    """When runs were added: write the page anew with BENCH_UPDATE_EXPECTED=1, and read what its prose says of them."""
    page = ROOT / "docs" / "results" / "emoji.md"
    stored = tmp_path / "emoji.db"  # a copy: opening a database may change it
    stored.write_bytes((ROOT / "docs" / "results" / "emoji.db").read_bytes())
    call = [
        "report",
        "--store",
        str(stored),
        "--kind",
        "main",
        "--kind",
        "ablation",
        "--kind",
        "cost",
        "--no-published",
    ]
    result = runner.invoke(app, call)
    assert result.exit_code == 0, result.stderr
    begin, end = "<!-- generated: report -->\n", "<!-- end -->"
    head, _, rest = page.read_text().partition(begin)
    old, _, tail = rest.partition(end)
    if os.environ.get("BENCH_UPDATE_EXPECTED"):
        page.write_text(f"{head}{begin}{result.stdout}{end}{tail}")
        old = result.stdout
    assert old == result.stdout


def test_the_example_of_the_readme_is_a_method(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    METHODS.names()  # whatever is registered by being there is registered now
    monkeypatch.setattr(METHODS, "_known", dict(METHODS._known))
    exec(compile(code, "README.md", "exec"), {})
    kind = METHODS.get("gem")
    run = RunSettings(backbone="tf_efficientnet_lite0", image_size=64)
    method = kind(kind.Settings(), Context(run, ("ant",), resources.cache_dir)).eval()
    with torch.inference_mode():
        vectors = method.embed(torch.rand(2, 3, 64, 64), True)
    assert vectors.shape == (2, method.backbone.width)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
