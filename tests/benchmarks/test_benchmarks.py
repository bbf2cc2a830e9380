"""Each script of ``benchmarks/`` runs at toy size with the options that a page shows, and prints its table.

The options of ``SMALLEST`` override those of the page.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import pytest
from PIL import Image

from bench.methods.base import METHODS
from tests.fenced import PAGES, ROOT, commands
from tests.processes import Ended, become_python, ended, start

NUMBER = r"[-\d.,]+"
SMALLEST = {
    "archives": "--images 6 --size 32 --repeats 1",
    "carry_over": "--runs 2 --store emoji.db --limit 1 --icons icons.json --stamps stamps",
    "devices": "--device cpu --queries 20 --photos 200 --dim 8 --image-size 32 --batch-size 8 --repeats 1",
    "evaluation": "--limit 4 --dim 8 --repeats 1 --sample 20",
    "fine_grained": "--limit 2 --dim 8",
    "intervals": "--trials 2",
    "loading": "--images 12 --size 32 --repeats 1",
    "mining": "--limit 2 --epochs 0.05 --set image_size=32",
    "photo_share": "--store emoji.db --weight 1",
    "processes": "--limit 1 --epochs 0.05 --image-size 32 --no-warm-up --threads 1",
    "report": "--runs 5 --scores 40 --repeats 1",
    "streaming": "--queries 20 --photos 2000 --dim 8 --classes 4",
    "training_step --methods": "--repeats 1 --steps 1 --set backbone=test_vit --set image_size=32 --set batch_size=8",
    "training_step": "--repeats 1 --steps 1 --set image_size=32 --set batch_size=8",
}
FASTER = (  # not an option
    (r"processes.py 1 2 4", "processes.py 1"),
    (r"backbone=resnet50", "backbone=resnet18"),
)
PRINTS = {
    "archives": [rf"\| read.* \|( {NUMBER} \|){{3}}", rf"\| `bench data add` \|( {NUMBER} \|){{2}}"],
    "carry_over": [
        "emoji: 93 queries of 93 classes, 93 pictures",
        "icons: 1 queries of 1 classes, 2 pictures",
        "stamps: 1 queries of 1 classes, 1 pictures",
        rf"\| 2 \| imagenet, seed 0 \| {NUMBER} \| {NUMBER} \| 1.000 \|",
    ],
    "devices": [
        rf"ranking 20 x 200 x 8: {NUMBER} s on cpu, .*, largest difference of a mean .*",
        *(rf"training step of .*, 32 px, batch 8, {name}: {NUMBER} ms, .*" for name in ("fp32", "bf16")),
    ],
    "evaluation": [
        rf"\w+: {NUMBER} queries x {NUMBER} photos, 8-d, \d+ processors",
        rf"engine( +{NUMBER}){{7}}",
        rf"bench.evaluate( +{NUMBER}){{7}}",
        rf"bare product( +{NUMBER}){{5}}",
        r"engine / bare product: .* by the clock, .* of the processors",
    ],
    "fine_grained": [
        rf"sketchy-21-fine: {NUMBER} queries x {NUMBER} photos, 8-d",
        rf"own class +acc@1 {NUMBER} +{NUMBER} s +{NUMBER} s of processors +{NUMBER} MB",
        rf"all photos +acc@1 {NUMBER} .*",
    ],
    "intervals": [
        r"\*\*Table `one-seed`\*\*",
        r"\| emoji +\| queries .*%.*",
        r"\*\*Table `bold`\*\*",
        r"\| 5 +\| 3 +\|.*%.*",
    ],
    "loading": [r"\| ImageFolder \|.*", r"\| this project \|.*", rf"Ratio of the best: \*\*{NUMBER}\*\*.*"],
    "mining": [r"\| ours \| 1-1 \|( \d+% \|){4}", r"\| ours unbalanced \| 1-1 \|( \d+% \|){4}"],
    "photo_share": [
        rf"\| 0.5 \| balanced \| 0-4 \| {NUMBER} \|  \|",
        rf"\| 0.5 \| unbalanced \| 0-4 \| {NUMBER} \| [-+]{NUMBER} \([-+]{NUMBER} to [-+]{NUMBER}\) \|",
    ],
    "processes": [rf"\| 1 \| {NUMBER} \| {NUMBER} \| 1.00 \| {NUMBER} \|"],
    "report": [r"5 runs with 40 scores each, .*", rf"\| main, md \|( {NUMBER} \|){{4}}", r"\| cost, md \|.*"],
    "streaming": [rf"bare product( +{NUMBER}){{6}}", rf"shards( +{NUMBER}){{7}}", rf"in memory( +{NUMBER}){{7}}"],
    "training_step --methods": [
        r"test_vit, 32 px, batch 8, 1 thread\(s\), 1 repeats of 1 steps, load average .*",
        *(
            rf"{name} +{NUMBER} ms a step, {NUMBER} of softmax, {NUMBER}% trained"
            for name in METHODS.names()
            if METHODS.get(name).terms
        ),
    ],
    "training_step": [
        r"\w+, 32 px, batch 8 \(4 photos\), \d blocks frozen, 1 thread\(s\), 1 repeats of 1 steps, load average .*",
        rf"prepared +{NUMBER} ms a step .*",
        rf"online-teacher +{NUMBER} ms a step .*",
        r"the table saves .* of a step of 'online-teacher' .*",
        r"the table costs .*",
    ],
}
OTHERS = ("argsort", "torchmetrics", "scikit-learn", "SAKE")  # the evaluators that the engine is compared with
SCRIPTS = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
SHOWN = dict.fromkeys(
    shlex.join(words) for page in PAGES for words in commands(page) if words[1:] and words[1].startswith("benchmarks/")
)
CALLS = [
    *SHOWN,
    *(f"python benchmarks/{name}.py" for name in sorted(SCRIPTS) if f"benchmarks/{name}.py" not in str(SHOWN)),
]


def name_of(call: str) -> str:
    name: str = re.search(r"benchmarks/(\w+)\.py", call)[1]  # type: ignore[index]
    return f"{name} --methods" if "--methods" in call else name


def script(folder: Path, words: Sequence[str]) -> None:
    """What Python does with a script, in a process of its own; the processes that it starts are forked from it."""
    os.chdir(folder)
    subprocess.run = forked
    with Path("output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    become_python(words)


RUN = subprocess.run


def forked(
    words: Sequence[str], env: Mapping[str, str] = os.environ, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run``, which forks a Python."""
    if words[0] != sys.executable:
        return RUN(words, env=env, **options)
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+") as output:
        child = multiprocessing.get_context("fork").Process(target=printing, args=(output, words[1:], env))
        child.start()
        child.join()
        assert child.exitcode == 0, words
        output.seek(0)
        return subprocess.CompletedProcess(words, 0, output.read())


def printing(output: TextIO, words: Sequence[str], env: Mapping[str, str]) -> None:
    os.environ.update(env)
    os.dup2(output.fileno(), 1)
    become_python(words)


def write_pictures(folder: Path) -> None:
    """Two icons, one of an unseen class of `emoji`; a photo of the class, and a drawing."""
    body = '<path d="M2 2h9v9z"/>'
    icons = {"icons": {"apple": {"body": body}, "alien": {"body": body, "width": 20}}}
    (folder / "icons.json").write_text(json.dumps(icons))
    for name in ("fruit/apple_red", "fruit/cartoon/apple"):
        path = folder / "stamps" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (40, 30), "red").save(path)


def run(call: str, folder: Path) -> Ended:
    """A call of a script with its smallest options, in a folder with the pages that it may write to."""
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "statistics.md", folder / "docs")
    shutil.copy(ROOT / "docs" / "results" / "emoji.db", folder)
    write_pictures(folder)
    for pattern, text in FASTER:
        call = re.sub(pattern, text, call)
    _, path, *words = shlex.split(f"{call} {SMALLEST[name_of(call)]}")
    return ended(start(script, folder, [str(ROOT / path), *words]), folder)


@pytest.mark.parametrize("call", CALLS, ids=CALLS)
def test_a_benchmark_runs_and_prints_its_lines(call: str, tmp_path: Path) -> None:
    all_of_them = call == "python benchmarks/evaluation.py"  # once is enough: each is a process
    done = run(call if all_of_them or "evaluation" not in call else f"{call} --only engine", tmp_path)
    assert done.code == 0, done.output
    lines = done.output.splitlines()
    patterns = [*PRINTS[name_of(call)], *(rf"{each}( +{NUMBER}){{7}} .*" for each in OTHERS if all_of_them)]
    missing = [pattern for pattern in patterns if not any(re.fullmatch(pattern, line) for line in lines)]
    assert not missing, done.output
    if "--write" in call:
        written = (tmp_path / "docs" / "statistics.md").read_text()
        page = (ROOT / "docs" / "statistics.md").read_text()
        assert "2 trials a row." in written
        assert written.partition("<!-- benchmarks")[0] == page.partition("<!-- benchmarks")[0]
        assert written.rpartition("-->")[2] == page.rpartition("-->")[2]


def test_a_renamed_option_is_noticed(tmp_path: Path) -> None:
    done = run("python benchmarks/streaming.py --rows 3", tmp_path)
    assert done.code == 2
    assert "unrecognized arguments: --rows 3" in done.output
