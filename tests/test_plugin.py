"""``examples/plugin`` and three bad packages beside it, installed for real, as processes of the program see them.

``cracked`` does not import. ``subtle`` does, and declares what nobody can use. ``dated`` imports the modules of before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fenced import commands
from tests.forked import Bench, forked
from tests.processes import run_pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
KINDS = ("methods", "datasets", "protocols", "reports")
SUBTLE = """
from bench.evaluation.protocols.base import Protocol
from bench.datasets.base import Dataset
from bench.methods.imagenet import ImageNet


class Method(ImageNet):
    name, terms = "subtle", None


class Data(Dataset):
    name, summary, licence, split_names = "subtle", "No split.", "MIT", ()

    def load_split(self, name): ...

    def read(self, path): ...


PROTOCOL = Protocol(name="subtle", summary=None, used_by="", source="", metrics=("P@5:k@queries",))


def kind(source):
    return []
"""
DATED = {  # the first lines of the example of before
    "methods": "from methods import heads\nfrom methods.base import METHODS, Context\n",
    "datasets": "from bench.types import Item, Modality, Split\nfrom datasets.base import DATASETS, Dataset\n",
    "protocols": "from bench.protocols.base import Protocol, declare\n",
    "reports": "from reports.source import Source\nfrom reports.base import KINDS, Options, Table\n",
}
NAMES = ("cracked", "dated", "subtle")
LEADS_TO = {
    **{("cracked", group): "cracked:thing" for group in KINDS},
    **{("dated", group): f"dated.{group}:thing" for group in KINDS},
    ("subtle", "methods"): "subtle:Method",
    ("subtle", "datasets"): "subtle:Data",
    ("subtle", "protocols"): "subtle:PROTOCOL",
    ("subtle", "reports"): "subtle:kind",
}
BAD = {
    "cracked.py": "raise RuntimeError('half written')\n",
    "subtle.py": SUBTLE,
    "dated/__init__.py": "",
    **{f"dated/{group}.py": text for group, text in DATED.items()},
    **{f"{name}-0.3.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n" for name in NAMES},
    **{
        f"{name}-0.3.dist-info/entry_points.txt": "".join(
            f"[bench.{group}]\n{'kind.' * (group == 'reports')}{name} = {LEADS_TO[name, group]}\n" for group in KINDS
        )
        for name in NAMES
    },
}
REASONS = {
    **{("cracked", group): "RuntimeError: half written" for group in KINDS},
    ("dated", "methods"): "methods.heads is now bench.methods.modules.heads",
    ("dated", "datasets"): "datasets.base is now bench.datasets.base",
    ("dated", "protocols"): "bench.protocols.base is now bench.evaluation.protocols.base",
    ("dated", "reports"): "reports.source is now bench.reports.rows",
    ("subtle", "methods"): "its terms must be of type tuple, not None",
    ("subtle", "datasets"): "its split_names is empty",
    ("subtle", "protocols"): "its summary must be of type str, not None",
    ("subtle", "reports"): "it does not take two arguments, the source and the options",
}
SMALL = "--epochs 0.2 --image-size 32 --batch-size 8 --set dim=16 --set frozen_blocks=5 --device cpu --format json"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages: pip builds a copy, so that nothing is left in the example's folder."""
    source, site = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    call = [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(source)]
    made = subprocess.run(call, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    for path, text in BAD.items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text(text)
    return site


@pytest.fixture(scope="module")
def places(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with the installed packages in sight, and a cache of its own."""
    cache = tmp_path_factory.mktemp("cache")
    return {**os.environ, "PYTHONPATH": str(installed), "BENCH_CACHE_DIR": str(cache), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def bench(places: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Calls of the program, in one folder by default."""
    with forked(places, tmp_path_factory.mktemp("work")) as call:
        yield call


def test_the_tests_of_the_example_pass(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    result = run_pytest(tmp_path, installed)
    assert result.code == 0, result.output


def unusable(kind: str, name: str) -> str:
    """The sentence on a bad plug-in."""
    group = {"kind of report": "reports"}.get(kind, f"{kind}s")
    where, why = LEADS_TO[name, group], REASONS[name, group]
    return f"The {kind} {name!r} of {name} 0.3, {where}, cannot be loaded ({why}); fix or uninstall that package."


LISTS = {  # what of the project and of the example is listed under which word, and what a bad one of it is called
    "methods": ("method", "method", {"ours", "proxy-anchor"}),
    "datasets": ("dataset", "dataset", {"emoji", "shapes"}),
    "protocols": ("protocol", "protocol", {"standard", "every-class"}),
    "reports": ("name", "kind of report", {"main", "md", "runs", "tsv"}),
}


@pytest.mark.parametrize("group", LISTS)
def test_lists_show_usable_plug_ins_and_warn_about_others(group: str, bench: Bench) -> None:
    word, kind, good = LISTS[group]
    listed = bench("list", group, "--format", "json")
    assert listed.returncode == 0, listed.stderr
    rows = {row[word]: row for row in json.loads(listed.stdout)[group]}
    assert good <= rows.keys()
    assert not set(NAMES) & rows.keys()
    assert listed.stderr.splitlines() == [f"WARNING: {unusable(kind, name)}" for name in NAMES]
    if group == "methods":
        assert rows["proxy-anchor"]["loss_terms"] == ["proxies"]


def test_the_commands_of_its_page_work(bench: Bench, tmp_path: Path) -> None:
    """With settings that take seconds. Its first command, of pip, is what ``installed`` did."""
    pip, *calls = commands(EXAMPLE / "README.md")
    assert pip == ["pip", "install", "--no-build-isolation", "."]
    assert [call[1] for call in calls] == ["list", "run", "report", "report"]
    place = calls[1].index("--epochs")
    calls[1][place : place + 2] = SMALL.replace("--set dim=16 ", "").split()
    for call in calls:
        done = bench(*call[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    curves = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    begun = [each for each in curves if "title" in each]
    assert [each["settings"]["method"] for each in begun] == ["proxy-anchor", "imagenet"]
    assert any("loss/proxies" in each for each in curves)
    assert len([each for each in curves if each.get("scores")]) == 2


def test_a_method_trains_on_a_dataset_and_a_report_shows_both_under_a_protocol(bench: Bench) -> None:
    run = bench("run", "-m", "proxy-anchor", "-d", "shapes", *SMALL.split())
    assert run.returncode == 0, run.stderr
    assert "WARNING" not in run.stderr  # the broken package is nobody's business here
    (found,) = json.loads(run.stdout)["runs"]
    assert (found["method"], found["split"]) == ("proxy-anchor", "shapes-4")
    value = next(s["value"] for s in found["scores"] if (s["metric"], s["average"]) == ("mAP@all:plain", "classes"))
    report = bench("report", "--protocol", "every-class", "--kind", "main", "--kind", "runs", "--format", "json")
    assert report.returncode == 0, report.stderr
    document = json.loads(report.stdout)
    main, runs = document["tables"]
    assert main["rows"][0]["map_all_plain_classes"] == pytest.approx(value)
    assert [(row["run"], row["method"]) for row in runs["rows"]] == [(1, "proxy-anchor")]
    assert "plug-ins zs-sbir-bench-example 0.1" in document["footer"][0]
    every = bench("report", "--kind", "all", "--format", "tsv")
    assert every.returncode == 0, every.stderr
    assert "# Runs: shapes, split shapes-4" in every.stdout
    assert every.stderr.count("The kind of report 'cracked' of cracked 0.3") == 1


def test_a_file_of_embeddings_is_scored_under_the_protocol(bench: Bench, tmp_path: Path) -> None:
    """Class 1 has two queries and class 2 one: the mean over classes is not that over queries."""
    query = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    gallery = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    file = tmp_path / "embeddings.npz"
    np.savez(file, query=query, gallery=gallery, query_labels=[1, 1, 2], gallery_labels=[1, 1, 2])
    result = bench("score", str(file), "--protocol", "every-class", "--format", "json")
    assert result.returncode == 0, result.stderr
    found = {score["metric"]: score["value"] for score in json.loads(result.stdout)["scores"]}
    assert found["mAP@all:plain"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_plug_in_that_is_named_ends_with_7(name: str, bench: Bench) -> None:
    calls = [
        ("method", ["run", "-m", name]),
        ("dataset", ["data", "check", name]),
        ("protocol", ["report", "--protocol", name]),
        ("kind of report", ["report", "--kind", name]),
    ]
    if name == "cracked":  # other commands look up names in the same way
        calls += [
            ("method", ["ablate", "-m", name]),
            ("dataset", ["run", "-m", "hog", "-d", name]),
            ("protocol", ["score", "embeddings.npz", "--protocol", name]),
        ]
    for kind, call in calls:
        done = bench(*call)
        assert (done.returncode, done.stderr) == (7, f"error: {unusable(kind, name)}\n"), call


def test_the_doctor_lists_usable_plug_ins(bench: Bench) -> None:
    found = json.loads(bench("doctor", "--format", "json").stdout)["findings"]
    plugins = {each["name"]: (each["usable"], each["found"]) for each in found if each["part"] == "plug-in"}
    assert {name: fine for name, (fine, _) in plugins.items()} == {
        "method proxy-anchor": True,
        "dataset shapes": True,
        "protocol every-class": True,
        "metric MRR@all": True,
        "logger json-lines": True,
        "kind of report runs": True,
        "report format tsv": True,
        **{f"{kind} {name}": False for _, kind, _ in LISTS.values() for name in NAMES},
    }
    assert plugins["method subtle"][1] == unusable("method", "subtle")
