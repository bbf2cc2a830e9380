"""Every way in gives the dataset that the same files give as folders."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.base import DATASETS
from tests.datasets.adding.archives import contents, files_below, layout_of, tar_of, zip_of
from tests.datasets.trees import picture, plant, plant_lists


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``dataset/Sketchy`` as in SAKE's archive, and ``tu/`` with TU-Berlin's two."""
    root = tmp_path_factory.mktemp("origin")
    kind, layout = layout_of("sketchy", "sake")
    plant(root / "dataset" / "Sketchy", kind, layout, per_class=1)
    plant_lists(root / "dataset" / "Sketchy", kind, layout, "sketchy-25")
    kind, layout = layout_of("tuberlin", "release")
    plant(root / "tu", kind, layout, per_class=1)
    return root


@pytest.fixture(scope="module")
def sketchy(origin: Path) -> dict[str, bytes]:
    return files_below(origin, "dataset/Sketchy")


def expected(root: Path, name: str) -> tuple[str, dict[str, bytes]]:
    kind = DATASETS.get(name)
    dataset = kind(Path(), kind.Settings(root=str(root)))
    return dataset.split().fingerprint, contents(dataset)


def added(name: str, data_root: Path = Path("data")) -> tuple[str, dict[str, bytes]]:
    dataset = DATASETS.get(name)(data_root)
    return dataset.split().fingerprint, contents(dataset)


PACKED: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "sake.zip": zip_of,
    "outer.tar.gz": lambda files: tar_of({"a/b/inner.zip": zip_of(files)}, "w:gz"),
    "outer.zip": lambda files: zip_of({"readme.txt": b"", "down/inner.tar.xz": tar_of(files, "w:xz")}),
}


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_with_lists(
    name: str, runner: CliRunner, tmp_path: Path, origin: Path, sketchy: dict[str, bytes]
) -> None:
    (tmp_path / name).write_bytes(PACKED[name](sketchy))
    result = runner.invoke(app, ["data", "add", "sketchy", name])
    assert result.exit_code == 0, result.stderr
    assert "layout sake" in result.stdout
    assert "sketchy-25, by published file lists" in result.stdout
    assert result.stdout.endswith("usable\n")
    assert added("sketchy") == expected(origin / "dataset" / "Sketchy", "sketchy")
    assert files_below(tmp_path / "data", "Sketchy/zeroshot1").keys() == {
        f"Sketchy/{path.removeprefix('dataset/Sketchy/')}" for path in sketchy if "/zeroshot1/" in path
    }
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["Sketchy"]


@pytest.mark.parametrize("mode", [[], ["--in-place"]])
def test_two_archives_in_two_calls(mode: list[str], runner: CliRunner, tmp_path: Path, origin: Path) -> None:
    for folder in ("png", "ImageResized"):
        (tmp_path / f"{folder}.zip").write_bytes(zip_of(files_below(origin / "tu", folder)))
    one = runner.invoke(app, ["data", "add", "tuberlin", "png.zip", *mode])
    assert (one.exit_code, "not usable yet: ImageResized is missing" in one.stdout) == (0, True)
    assert runner.invoke(app, ["data", "check", "tuberlin"]).exit_code == 3
    assert runner.invoke(app, ["data", "add", "tuberlin", "ImageResized.zip", *mode]).exit_code == 0
    assert added("tuberlin") == expected(origin / "tu", "tuberlin")
    assert (tmp_path / "data" / "TUBerlin" / "png").exists() != bool(mode)
    assert "tuberlin\tdata/TUBerlin\trelease\t250\t250\t-" in runner.invoke(app, ["data", "where"]).stdout


@pytest.mark.parametrize(("options", "links"), [([], True), (["--copy"], False)])
def test_a_folder(options: list[str], links: bool, runner: CliRunner, tmp_path: Path, origin: Path) -> None:
    result = runner.invoke(app, ["data", "add", "sketchy", str(origin), *options])
    assert result.exit_code == 0, result.stderr
    assert added("sketchy") == expected(origin / "dataset" / "Sketchy", "sketchy")
    assert (tmp_path / "data" / "Sketchy" / "EXTEND_image_sketchy_ready").is_symlink() == links
    again = runner.invoke(app, ["data", "add", "sketchy", str(origin), *options])
    assert (again.exit_code, "copied" in again.stdout) == (0, False)


FEW = {
    f"{folder}/{name}/{number}.png": picture(seed=number)
    for folder in ("png", "ImageResized")
    for name in ("cat", "dog", "t-shirt", "car (sedan)")
    for number in (1, 2)
}
INCOMPLETE = 3  # few classes are placed, and called unusable


def test_two_archives_in_one_call(runner: CliRunner, tmp_path: Path) -> None:
    for folder in ("png", "ImageResized"):
        (tmp_path / f"{folder}.zip").write_bytes(zip_of({path: FEW[path] for path in FEW if path.startswith(folder)}))
    result = runner.invoke(app, ["data", "add", "tuberlin", "ImageResized.zip", "png.zip"])
    assert (result.exit_code, "4 of 250 classes" in result.stdout) == (INCOMPLETE, True)
    assert files_below(tmp_path / "data" / "TUBerlin") == FEW


def test_a_folder_that_holds_archives(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    for folder in ("png", "ImageResized"):
        content = zip_of({path: FEW[path] for path in FEW if path.startswith(folder)})
        (tmp_path / "downloads" / f"{folder}.zip").write_bytes(content)
    (tmp_path / "downloads" / "other.zip").write_bytes(b"PK\3\4 broken")
    assert runner.invoke(app, ["data", "add", "tuberlin", "downloads"]).exit_code == INCOMPLETE
    assert files_below(tmp_path / "data" / "TUBerlin") == FEW


def test_archives_of_one_name_in_two_archives(runner: CliRunner, tmp_path: Path) -> None:
    for folder in ("png", "ImageResized"):
        inner = zip_of({path: FEW[path] for path in FEW if path.startswith(folder)})
        (tmp_path / f"{folder}.zip").write_bytes(zip_of({"in.zip": inner}))
    (tmp_path / "png.zip").rename(tmp_path / os.fsdecode(b"png\xff.zip"))
    words = [os.fsdecode(b"png\xff.zip"), "ImageResized.zip"]
    assert runner.invoke(app, ["data", "add", "tuberlin", *words]).exit_code == INCOMPLETE
    assert files_below(tmp_path / "data" / "TUBerlin") == FEW


def test_a_folder_is_not_linked_if_an_archive_beside_it_fails(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "ImageResized" / "cat").mkdir(parents=True)
    (tmp_path / "ImageResized" / "cat" / "1.png").write_bytes(picture())
    content = bytearray(zip_of({"png/cat/1.png": picture()}, zipfile.ZIP_STORED))
    content[100] ^= 1
    (tmp_path / "png.zip").write_bytes(content)
    assert runner.invoke(app, ["data", "add", "tuberlin", "ImageResized", "png.zip"]).exit_code == 3
    assert not (tmp_path / "data" / "TUBerlin").exists()


def test_class_folders_at_the_top_of_an_archive(runner: CliRunner, tmp_path: Path) -> None:
    for folder in ("png", "ImageResized"):
        inner = {path.removeprefix(f"{folder}/"): FEW[path] for path in FEW if path.startswith(folder)}
        (tmp_path / f"{folder}.tar").write_bytes(tar_of(inner))
    assert runner.invoke(app, ["data", "add", "tuberlin", "png.tar", "ImageResized.tar"]).exit_code == INCOMPLETE
    assert files_below(tmp_path / "data" / "TUBerlin") == FEW


def test_another_dataset_in_the_archive(runner: CliRunner, tmp_path: Path, sketchy: dict[str, bytes]) -> None:
    few = {f"dataset/TUBerlin/{path}": content for path, content in FEW.items()}
    (tmp_path / "dataset.zip").write_bytes(zip_of({**sketchy, **few}))
    result = runner.invoke(app, ["data", "add", "sketchy", "dataset.zip"])
    assert "also there   tuberlin: `bench data add tuberlin dataset.zip`" in result.stdout
    assert runner.invoke(app, ["data", "add", "tuberlin", "dataset.zip"]).exit_code == INCOMPLETE
    assert files_below(tmp_path / "data" / "TUBerlin") == FEW


def test_links_out_of_a_folder_are_left_out(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "1.png").write_bytes(picture())
    for path, content in FEW.items():
        (tmp_path / "own" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / path).write_bytes(content)
    (tmp_path / "own" / "png" / "cow").symlink_to(tmp_path / "else")
    (tmp_path / "own" / "png" / "cat" / "3.png").symlink_to(tmp_path / "else" / "1.png")
    (tmp_path / "own" / "png" / "cat" / "4.png").symlink_to("4.png")
    assert runner.invoke(app, ["data", "add", "tuberlin", "own", "--copy"]).exit_code == INCOMPLETE
    assert files_below(tmp_path / "data" / "TUBerlin") == FEW
