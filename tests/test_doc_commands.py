"""Every command that the documentation shows in a block of code is run as it stands there, page by page, in order.

The folder is prepared once: a database with a small trained run, three of an untrained method and many made-up ones, a
network, files of embeddings, pictures. ``RULES`` say what a command needs beyond that; one that fits no rule fails, so
that a new command is thought about once. What is run: everything, but

- trainings (``bench run``, ``bench ablate``) by ``--dry-run``: every name is resolved and the split is loaded;
- what reads a published dataset, which no machine for tests has: it must come as far as missing that dataset, exit 3;
- a server is stopped as by Ctrl-C as soon as it would wait for calls;
- what takes hosts or a cluster (torchrun) is parsed by the command line with all its options;
- targets of the Makefile are looked at by ``make --dry-run``.

The example's own README is run by ``tests/test_plugin.py``, where the example is installed. Commands within sentences
name things (``RUN``, ``A|B``) and are checked option by option in ``tests/test_docs.py``.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socketserver
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bench.cli.main import app
from bench.store import Store
from tests.datasets.trees import write
from tests.pictures import words_of as words_on
from tests.pictures import write_folder
from tests.reports.filling import everything, fill

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
STANDS_FOR = {"RUN": "3", "PATH": "my-drawings", "FILE": "embeddings.npz", "DATASET": "emoji", "METHOD": "imagenet"}
PUBLISHED = r"-d (sketchy|tuberlin|quickdraw)\b"


@dataclass(frozen=True)
class Rule:
    """For commands that ``pattern`` finds: what is added to them, and the exit code and sentence to expect."""

    pattern: str
    added: tuple[str, ...] = ()
    code: int = 0
    says: str = ""
    parsed_only: bool = False


RULES = (
    Rule(r"^torchrun ", parsed_only=True),
    Rule(rf"^bench (run|ablate) .*{PUBLISHED}", ("--dry-run",), 3, "was not found"),
    Rule(r"^bench (run|ablate) ", ("--dry-run",)),
    Rule(rf"^bench score .*{PUBLISHED}", code=3, says="as published has"),
    Rule(r"^bench data (check|list) (sketchy|tuberlin|quickdraw)\b", code=3, says="was not found"),
    Rule(r"^bench serve ", ("--port", "0"), 130, "Stopped."),
    Rule(r"^bench (report|score|query|show|doctor)\b"),
    Rule(r"^bench (data|list|new|store) [a-z]+"),
)


def shown(page: Path) -> list[str]:
    """The commands of a page in order, without the words that explain them; alternatives (``a|b``) one by one."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|console|bash)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [
        line.strip()
        for line in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines()
        if line.startswith("    ")
    ]
    bare = [re.split(r"\s{2,}|\s+#\s", line)[0] for line in lines if re.match(r"(bench|torchrun|make) ", line)]
    return [each for line in bare for each in alternatives(line)]


def alternatives(command: str) -> Iterator[str]:
    """``list a|b`` as ``list a`` and ``list b``."""
    found = re.search(r" ([a-z]+(?:\|[a-z]+)+)", command)
    for choice in found[1].split("|") if found else [""]:
        yield command.replace(found[1], choice) if found else command


# Each once: what one page has made is there when another page says the same.
CALLS = [(page, command) for command, page in {each: page for page in reversed(PAGES) for each in shown(page)}.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with everything that the commands name."""
    folder = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        patch.setenv("BENCH_CACHE_DIR", str(folder / "cache"))
        patch.setenv("NO_COLOR", "1")
        patch.setenv("COLUMNS", "200")
        patch.setattr(socketserver.BaseServer, "serve_forever", ctrl_c)
        write_folder(folder / "Pictures", classes=6)
        for call in (
            ["-m", "softmax", "--epochs", "0.5", *words_on(folder / "Pictures")],
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
        for name in ("a.db", "b.db", "A.db", "B.db"):
            shutil.copy("bench.db", name)
        embeddings()
        for class_name in ("cat", "ice cream", *(f"class {number}" for number in range(20))):
            for modality in ("sketch", "photo"):
                write(folder / "my-drawings" / modality / class_name / "1.png")
        for name in ("sketch.png", "banana.png"):
            shutil.copy(next((folder / "Pictures" / "sketch").rglob("*.png")), name)
        Path("tables").mkdir()
        yield folder


def ctrl_c(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def embeddings() -> None:
    """Files as somebody else's code may write them."""
    generator = np.random.default_rng(0)
    labels = {"query_labels": np.arange(40) % 8, "gallery_labels": np.arange(300) % 8}
    real = {"query": generator.normal(size=(40, 16)), "gallery": generator.normal(size=(300, 16))}
    for name in ("embeddings.npz", "mine.npz"):
        np.savez(name, **real, **labels)
    np.savez("codes.npz", **{side: (values > 0).astype(np.float32) for side, values in real.items()}, **labels)


def rule_of(command: str) -> Rule:
    """The first rule that fits."""
    for rule in RULES:
        if re.search(rule.pattern, command):
            return rule
    pytest.fail(f"No rule of this file says how to try {command!r}: add one.")


def words_of(command: str) -> list[str]:
    """What the program is called with: placeholders replaced, the home folder as a shell gives it."""
    words = shlex.split(command)
    words = words[words.index("bench") + 1 :]
    replaced = [
        re.sub(r"\b[A-Z]{3,}\b(?!\.)", lambda found: STANDS_FOR.get(found[0], found[0]), word) for word in words
    ]
    return [word.replace("~", str(Path.home()), 1) if word.startswith("~/") else word for word in replaced]


def parse(words: list[str]) -> Result:
    """Let the command line read all words without doing anything: help comes after an unknown option is refused."""
    return CliRunner().invoke(app, [*words, "--help"])


@pytest.mark.parametrize(
    ("page", "command"), CALLS, ids=[f"{page.relative_to(ROOT)}: {command}" for page, command in CALLS]
)
def test_a_documented_command_works(page: Path, command: str, folder: Path) -> None:
    if command.startswith("make "):
        tried = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, check=False)
        assert tried.returncode == 0
        return
    rule = rule_of(command)
    words = words_of(command)
    if rule.added and rule.added[0] in words:  # the test's own value, if the option has one
        place = words.index(rule.added[0])
        del words[place : place + len(rule.added)]
    words += rule.added
    if rule.parsed_only:
        assert parse(words).exit_code == 0
        return
    result = CliRunner().invoke(app, words)
    assert result.exit_code == rule.code, result.output
    assert rule.says in result.stderr
    assert "Traceback" not in result.output


def test_a_command_of_no_rule_and_a_renamed_option_are_noticed() -> None:
    with pytest.raises(pytest.fail.Exception, match="No rule of this file"):
        rule_of("bench frobnicate --all")
    assert parse(["run", "-m", "ours", "--dataset", "emoji", "--seeds", "3"]).exit_code == 0
    renamed = parse(["run", "-m", "ours", "--datset", "emoji"])
    assert renamed.exit_code == 2
    assert "No such option" in renamed.stderr


def test_the_pages_show_commands() -> None:
    """Were the blocks written otherwise, nothing would be found and everything would pass."""
    assert {"README.md", "index.md", "datasets.md", "protocols.md", "reports.md", "extending.md"} <= {
        page.name for page, _ in CALLS
    }
    assert len(CALLS) > 40
    assert {"run", "ablate", "report", "score", "data", "list", "query", "serve", "new", "doctor"} <= {
        command.split()[1] for _, command in CALLS
    }
