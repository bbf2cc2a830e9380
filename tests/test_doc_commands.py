"""Every command that the documentation shows is run, page by page, in order: those of blocks and those of sentences.

``RULES`` say what is changed in a command so that it is a matter of seconds here: a training is done on a few pictures.
``NOT_RUN`` are those that are not carried out as a page means them, and why; ``ELSEWHERE`` names the tests that run the
rest. A command that fits none fails, so that a new one is thought about once.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from typer.testing import Result

import tests.documented
from bench.results.store import Store
from tests.documented import PAGES, ROOT, commands_of, shown
from tests.documented_folder import Documented
from tests.documented_folder import documented as documented  # a fixture
from tests.documented_ways import Way, arguments, inside, makefile, parsed, process, shell
from tests.pictures import words_of as words_on

STANDS_FOR = (  # what a page leaves to the reader
    (r"(?<=-m )(NAME|METHOD)\b", "imagenet"),
    (r"(?<=bench list settings )METHOD\b", "imagenet"),
    (r"(?<=-d )(NAME|DATASET)\b", "emoji"),
    (r"(?<=--backbone )NAME\b", "tf_efficientnet_lite0"),
    (r"(?<=--protocol )NAME\b", "standard"),
    (r"(?<=--kind )NAME\b", "main"),
    (r"(?<=--metric )ID\b", "P@10:k"),
    (r"\bnew (\w+) NAME\b", r"new \1 a-\1"),
    (r"(?<=bench data )(\w+) (NAME|DATASET)", r"\1 emoji"),
    (r"(?<=bench data list )-o$", "emoji -o lists/"),
    (r"\bbench score (?=--)", "bench score FILE "),
    (r"\bCOMMAND\b", "run"),
    (r"\bRUN\b", "3"),
    (r"\bPATH\b", "my-drawings"),
    (r"\bFILE\b", "embeddings.npz"),
    (r"\bDIR\b", "lists/"),
)
PUBLISHED = r"-d (sketchy|tuberlin|quickdraw)\b"
NO_DATA = ((rf" ({PUBLISHED}|-d emoji\b)", ""), (r" --split \S+", ""))
FEW = (*NO_DATA, (r"--seeds \d+", "--seeds 1"))
ONE_PART = (*NO_DATA, (r"--seeds \d+", "--seed 7 --without quadruplet"))
TWO = (*NO_DATA, (r"(?<=--nproc-per-node )\d+", "2"))
PICTURES = ("-d", "folder", "--set", "root=Pictures", "--set", "draw=4", "--device", "cpu")
TINY = (*words_on(Path("Pictures")), "--epochs", "0.3")
OWN = "--epochs 0.2 --image-size 32 --batch-size 16 --backbone tf_efficientnet_lite0 --set frozen_blocks=5 --device cpu"


@dataclass(frozen=True)
class Rule:
    """For commands that ``pattern`` finds: what is put for what, what is added, the exit code and sentence to expect.

    ``how`` carries out the words in the folder; of a run that it stores ``stored`` is known. ``why``: the reason where
    that is not what the page means.
    """

    pattern: str
    swapped: tuple[tuple[str, str], ...] = ()
    added: tuple[str, ...] = ()
    code: int = 0
    says: str = ""
    how: Way = inside
    stored: str = ""
    why: str = ""


NOT_RUN = (
    Rule(r"^make ", how=makefile, why="they install, test, lint and train for minutes; CI calls them"),
    Rule(
        r"--executor slurm", FEW, ("--dry-run",), why="no cluster; tests/bench/cluster/test_scheduler.py has a stand-in"
    ),
    Rule(r"^bench --store \.\.\.?/", how=parsed, why="the record of what made the results, with paths cut short"),
    Rule(r"^python -m tools\.emoji\.(fetch|build) ", how=arguments, why="they need packages of the network"),
    Rule(r"^bench data (check|list) (sketchy|tuberlin|quickdraw)\b", code=3, says="was not found", why="no data"),
    Rule(rf"^bench score .*{PUBLISHED}", code=3, says="as published has", why="no data to make embeddings of"),
    Rule(
        r"^\.venv/bin/pip install -e '\.\[dev\]'$",
        added=("--dry-run", "--no-index", "--no-deps", "--no-build-isolation"),
        says="Would install zs-sbir-bench",
        how=partial(process, cwd="checkout"),
        why="it would take torch and others from the network",
    ),
)
RULES = (
    *NOT_RUN,
    Rule(r"^torchrun ", TWO, (*TINY, "--seed", "7"), how=process, stored="processes"),
    Rule(r"^bench ablate .*--executor local", ONE_PART, TINY, stored="job"),
    Rule(r"^bench run -m my-method$", added=TINY, says="training", how=partial(process, own=True)),
    Rule(r"^bench (run|ablate) .*--dry-run"),
    Rule(r"^bench run --checkpoint .*-d folder", added=("--device", "cpu")),
    Rule(r"^bench run --checkpoint ", FEW, PICTURES),
    Rule(r"^bench run .*-d folder", added=tuple(OWN.split())),
    Rule(r"^bench run (-d emoji|--backbone \S+|--on-bad-image drop)$", FEW, ("-m", "imagenet", *TINY)),
    Rule(r"^bench (run|ablate) -", FEW, TINY),
    Rule(r"^bench serve ", ((r" --port \d+", ""),), ("--port", "0"), code=130, says="Stopped."),
    Rule(r"^bench show knowledge ", ((r"knowledge 3", "knowledge 1"),), PICTURES[2:6]),
    Rule(r"^bench (report|score|query|show|doctor|--help|run --help)\b"),
    Rule(r"^bench (data|list|new|store) [a-z]+"),
    Rule(r"^python -m tools\.(commands|methods|protocols)_page$", how=process),
    Rule(r"^pip install --no-build-isolation -e lab$", added=("--no-index",), how=partial(process, own=True)),
    Rule(r"^pip freeze$", says="torch==", how=process),
    Rule(r"^\. \.venv/bin/activate$", how=shell),
)
ELSEWHERE = {  # how commands begin that another test runs
    "python benchmarks/": "tests/benchmarks/test_benchmarks.py",
    "python -m pytest": "tests/cli/commands/test_new.py",
}
# Each once: what one page has made is there when another page says the same. The page of the example is tried by
# ``tests/test_plugin.py``, where the example is installed.
CALLS = [
    (page, command)
    for command, page in {
        each: page for page in reversed(PAGES) if "examples" not in page.parts for each in shown(page)
    }.items()
    if not command.startswith(tuple(ELSEWHERE))
]


def rule_of(command: str) -> Rule:
    """The first rule that fits."""
    for rule in RULES:
        if re.search(rule.pattern, command):
            return rule
    pytest.fail(f"No rule of this file says how to try {command!r}: add one.")


def swapped(command: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """The command with every pattern replaced."""
    for pattern, text in pairs:
        command = re.sub(pattern, text, command)
    return command


def words_of(command: str, rule: Rule) -> Iterator[str]:
    """The words to carry out, the home folder as a shell gives it."""
    for word in shlex.split(swapped(command, rule.swapped)):
        yield re.sub(r"^~(?=/)", str(Path.home()), word)
    yield from rule.added


def run(command: str, folder: Documented) -> tuple[Rule, Result | subprocess.CompletedProcess[str]]:
    """Carry a command out by its rule."""
    command = swapped(command, STANDS_FOR)
    rule = rule_of(command)
    return rule, rule.how(folder, list(words_of(command, rule)))


@pytest.mark.parametrize(
    ("page", "command"), CALLS, ids=[f"{page.relative_to(ROOT)}: {command}" for page, command in CALLS]
)
def test_a_documented_command_works(page: Path, command: str, documented: Documented) -> None:
    rule, done = run(command, documented)
    said = done.stdout + done.stderr
    assert (done.exit_code if isinstance(done, Result) else done.returncode) == rule.code, said
    assert rule.says in said
    assert "Traceback" not in said
    if rule.stored:
        store = Store("bench.db")
        assert any(rule.stored in run.environment for run in store.runs())
        store.close()


def test_the_pages_that_are_made_are_as_they_are_in_the_project(documented: Documented) -> None:
    for name in ("commands.md", "methods.md", "protocols.md"):
        assert (documented.path / "docs" / name).read_text() == (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize(
    "page",
    [
        "```sh\nfrobnicate --all\n```\n",
        "```\n$ bench frobnicate --all   does it\n```\n",
        "Do it:\n\n    cd lab\n\nand so on.\n",
        "Do it with `python\ntools/frobnicate.py`.\n",
        "Do it with `BENCH_STORE=a.db .venv/bin/pip install frobnicate`.\n",
    ],
)
def test_a_command_that_no_rule_knows_is_noticed(page: str) -> None:
    (command,) = commands_of(page)
    with pytest.raises(pytest.fail.Exception, match="No rule of this file"):
        rule_of(command)


def test_a_renamed_option_is_noticed(documented: Documented) -> None:
    _, renamed = run("bench --store .../a.db run -m ours --datset emoji", documented)
    assert isinstance(renamed, Result)
    assert renamed.exit_code == 2
    assert "No such option" in renamed.stderr
    _, script = run("python -m tools.emoji.fetch --src npm --symbola symbola --jbos 2", documented)
    assert "unrecognized arguments: --jbos" in script.stderr


def test_what_is_not_run_has_a_reason_and_what_runs_elsewhere_a_test() -> None:
    assert all(rule.why for rule in NOT_RUN)
    assert not any(rule.why for rule in RULES[len(NOT_RUN) :])
    used = {rule_of(swapped(command, STANDS_FOR)).pattern for _, command in CALLS}
    assert [rule.pattern for rule in RULES if rule.pattern not in used] == []
    assert all((ROOT / test).is_file() for test in ELSEWHERE.values())


def test_the_examples_in_the_docstrings_of_the_search() -> None:
    assert doctest.testmod(tests.documented).failed == 0


def test_every_page_is_looked_at() -> None:
    call = ["git", "ls-files", "*.md"]
    tracked = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    others = [name for name in tracked if ROOT / name not in PAGES and not name.startswith("tests/expected/")]
    assert others in ([], ["CHANGELOG.md"])
    assert len(CALLS) > 100  # were the blocks written otherwise, nothing would be found and everything would pass
