"""`bench data path|check|list` as their users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.base import DATASETS
from bench.datasets.tuberlin import TUBerlin
from tests.datasets.trees import picture, plant, touch_all


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's own folder: classes a, b and `ice cream`, every picture another."""
    paths = [f"{m}/{name}/{n}.png" for m in ("sketch", "photo") for name in ("a", "b", "ice cream") for n in (1, 2)]
    for position, path in enumerate(paths):
        (tmp_path / "own" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / path).write_bytes(picture(seed=position))
    return tmp_path / "own"


@pytest.fixture
def tuberlin(tmp_path: Path) -> Path:
    plant(tmp_path / "data" / "TU-Berlin", TUBerlin, TUBerlin.layouts[1], per_class=1)
    return tmp_path / "data" / "TU-Berlin"


@pytest.mark.parametrize("name", DATASETS.names())
@pytest.mark.parametrize("format", ["table", "json"])
def test_path_says_what_is_wanted_of_every_dataset(name: str, format: str, runner: CliRunner) -> None:
    result = runner.invoke(app, ["data", "path", name, "--format", format])
    assert result.exit_code == 0, result.stderr
    assert DATASETS.get(name).licence in (result.stdout if format == "table" else json.loads(result.stdout)["licence"])
    assert result.stderr == ""


def test_path_of_what_is_not_there_and_of_what_is(runner: CliRunner, tuberlin: Path) -> None:
    absent = runner.invoke(app, ["data", "path", "sketchy"]).stdout
    for part in (
        f"{'found':<24} no\n",
        "data holds TU-Berlin/",
        "256x256/sketch/tx_000000000000_ready/<class>/*",
        "dataset.zip",
    ):
        assert part in absent
    found = runner.invoke(app, ["data", "path", "tuberlin"]).stdout
    assert f"{'root':<24} data/TU-Berlin\n{'layout':<24} sem-pcyc\n" in found
    facts = json.loads(runner.invoke(app, ["data", "path", "tuberlin", "--format", "json"]).stdout)
    assert (facts["root"], facts["layout"]) == ("data/TU-Berlin", "sem-pcyc")
    assert set(facts["expected"]) == {layout.name for layout in TUBerlin.layouts}


def test_where_shows_what_is_missing_and_the_next_command(runner: CliRunner, tuberlin: Path) -> None:
    (tuberlin / "images" / "bus" / "1 0.JPEG").unlink()
    touch_all(tuberlin.parent / "QuickDraw", ["images/cat/1.jpg"])
    rows = json.loads(runner.invoke(app, ["data", "where", "--format", "json"]).stdout)["datasets"]
    found = {row["dataset"]: row for row in rows}
    assert found.keys() == set(DATASETS.names())
    assert (found["emoji"]["photos"], found["emoji"]["missing"]) == (2618, [])
    assert found["emoji"]["next"] == "bench run -m ours -d emoji"
    assert (found["tuberlin"]["root"], found["tuberlin"]["sketches"]) == ("data/TU-Berlin", 250)
    assert (found["tuberlin"]["missing"], found["tuberlin"]["next"]) == (
        ["photo of 1 class"],
        "bench data check tuberlin",
    )
    assert found["quickdraw"]["missing"] == ["data/QuickDraw/sketches"]
    assert (found["sketchy"]["missing"], found["sketchy"]["next"]) == (
        ["all images"],
        "bench data add sketchy SOURCE...",
    )
    assert (found["tuberlin"]["addresses"], len(found["quickdraw"]["addresses"])) == ([], 2)
    shown = runner.invoke(app, ["data", "where"]).stdout
    assert all(f" {address}\n" in shown for address in found["sketchy"]["addresses"])
    failed = runner.invoke(app, ["data", "check", "quickdraw"])
    assert failed.exit_code == 3
    assert "a part is there, but not data/QuickDraw/sketches" in failed.stderr


def test_check_of_a_tree_that_is_too_small(runner: CliRunner, tuberlin: Path) -> None:
    touch_all(tuberlin, ["images/unicorn/1.jpg"])
    result = runner.invoke(app, ["data", "check", "tuberlin"])
    assert result.exit_code == 0, result.stderr
    for part in (
        "dataset      tuberlin: data/TU-Berlin, layout sem-pcyc",
        "split        tuberlin-30, gallery full: 30 unseen classes and 220 seen, disjoint",
        "fingerprint  ",
        "unseen classes are known to overlap (banana,",
        "--deep",
        "1 (images/unicorn)",
        "250 classes differ, the first 20",
    ):
        assert part in result.stdout
    assert result.stdout.rstrip().endswith("usable")
    facts = json.loads(runner.invoke(app, ["data", "check", "tuberlin", "--format", "json"]).stdout)
    assert facts["problems"] == []
    assert facts["foreign_folders"] == ["images/unicorn"]
    assert facts["counts"] == {"train": 440, "validation": 0, "queries": 30, "gallery": 30}
    assert len(facts["classes"]) == 250
    assert {
        "class_name": "banana",
        "wnid": "n07753592",
        "imagenet_name": "banana",
        "evidence": "file names",
        "photos": 1194,
    } in facts["imagenet_overlap"]
    assert facts["deep"] is None


def test_check_fails_with_3_where_a_class_has_no_photo(runner: CliRunner, tuberlin: Path) -> None:
    (tuberlin / "images" / "bus" / "1 0.JPEG").unlink()
    result = runner.invoke(app, ["data", "check", "tuberlin"])
    assert result.exit_code == 3
    assert "problem      No photo of 1 class (bus), of 30 needed" in result.stdout
    assert result.stdout.rstrip().endswith("not usable")
    other = runner.invoke(app, ["data", "check", "tuberlin", "--split", "tuberlin-30-sempcyc"])
    assert other.exit_code == 3


def test_the_deep_check_names_broken_and_repeated_pictures(runner: CliRunner, own: Path) -> None:
    call = ["data", "check", "folder", "--set", f"root={own}", "--set", "unseen=b,ice cream", "--deep"]
    sound = runner.invoke(app, call)
    assert sound.exit_code == 0, sound.stderr
    assert "opened       12 files, 0 of them unreadable" in sound.stdout
    assert "checking folder" in sound.stderr
    (own / "photo" / "b" / "2.png").write_bytes((own / "photo" / "a" / "1.png").read_bytes())
    (own / "sketch" / "ice cream" / "1.png").write_bytes(b"")
    result = runner.invoke(app, [*call, "--workers", "3"])
    assert result.exit_code == 3
    assert "problem      Image sketch/ice cream/1.png is an empty file: replace or remove it." in result.stdout
    assert "both seen and unseen classes (same content): 1 (photo/a/1.png = photo/b/2.png)" in result.stdout
    facts = json.loads(runner.invoke(app, [*call, "--format", "json"]).stdout)
    assert list(facts["deep"]["broken"]) == ["sketch/ice cream/1.png"]
    assert facts["repeats"]["gallery_and_training"] == [["photo/a/1.png", "photo/b/2.png"]]


def test_list_prints_every_role_with_labels(runner: CliRunner, own: Path) -> None:
    call = ["data", "list", "folder", "--set", f"root={own}", "--set", "unseen=b,ice cream", "--set", "name=mine"]
    lines = runner.invoke(app, call).stdout.splitlines()
    assert lines[:2] == ["role\tpath\tlabel\tclass", "queries\tsketch/b/1.png\t0\tb"]
    assert "gallery\tphoto/ice cream/2.png\t1\tice cream" in lines
    assert "train\tphoto/a/1.png\t0\ta" in lines
    assert len(lines) == 1 + 12
    facts = json.loads(runner.invoke(app, [*call, "--format", "json"]).stdout)
    assert (facts["dataset"], facts["unseen"], facts["seen"]) == ("mine", ["b", "ice cream"], ["a"])
    assert facts["queries"][0] == {"path": "sketch/b/1.png", "label": 0, "class": "b"}


def test_lists_that_are_written_out_give_the_same_split_again(runner: CliRunner, own: Path) -> None:
    call = ["data", "list", "folder", "--set", f"root={own}"]
    drawn = runner.invoke(app, [*call, "--set", "draw=2", "--set", "seed=3", "-o", "first"])
    assert drawn.exit_code == 0, drawn.stderr
    again = runner.invoke(app, [*call, "--set", "unseen=@first/classes.txt", "-o", "second"])
    assert again.exit_code == 0, again.stderr
    assert sorted(path.name for path in Path("first").iterdir()) == [
        *("classes.txt", "gallery.tsv", "queries.tsv", "split.json", "train.tsv", "validation.tsv")
    ]
    for name in ("gallery.tsv", "queries.tsv", "train.tsv", "validation.tsv"):
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes()
    first, second = (json.loads(Path(name, "split.json").read_text()) for name in ("first", "second"))
    assert first["fingerprint"] == second["fingerprint"]
    assert first["split"].startswith("draw2-seed3-")
    assert first["split"].rpartition("-")[2] == second["split"].rpartition("-")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["data", "check", "tuberlni"], 2, "There is no dataset 'tuberlni'. Did you mean 'tuberlin'?"),
        (["data", "path", "tuberlin", "--set", "rot=x"], 2, "There is no setting 'rot' here. Did you mean 'root'?"),
        (["data", "check", "tuberlin", "--split", "tuberlin-3"], 2, "Did you mean 'tuberlin-30'?"),
        (["data", "check", "sketchy"], 3, "Dataset 'sketchy' was not found (searched data,"),
        (
            ["data", "list", "quickdraw", "--data-root", "no/where"],
            3,
            "unpack it to no/where/QuickDraw as sketches/<class>/*",
        ),
        (["data", "list", "sketchy", "--set", "root=~nobody"], 3, "was not found"),
        (["data", "check", "sketchy", "--data-root", "a-file"], 3, "Folder a-file cannot be read"),
        (["data", "path", "folder", "--set", "root=a-file"], 0, ""),
        (["data", "check", "folder"], 2, "needs --set root=PATH"),
        (["data", "list", "emoji", "-o", "a-file/lists"], 2, "cannot be written (Not a directory): choose another -o"),
        (["data", "check", "emoji", "--workers", "0"], 2, ""),
    ],
)
def test_mistakes(arguments: list[str], code: int, message: str, runner: CliRunner) -> None:
    Path("a-file").write_text("")
    result = runner.invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert code == 0 or result.stdout == ""


def test_the_embedded_dataset_needs_nothing(runner: CliRunner) -> None:
    result = runner.invoke(app, ["data", "check", "emoji"])
    assert result.exit_code == 0
    assert "on disk      1,869 sketches, 2,618 photos" in result.stdout
