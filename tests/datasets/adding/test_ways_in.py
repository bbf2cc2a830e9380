"""Every way in gives the dataset that the same files give as folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.base import DATASETS
from tests.datasets.adding.archives import contents, files_below, layout_of, tar_of, zip_of
from tests.datasets.trees import plant, plant_lists


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``dataset/Sketchy`` and ``dataset/TUBerlin`` as in SAKE's archive, and ``tu/`` with TU-Berlin's two."""
    root = tmp_path_factory.mktemp("origin")
    kind, layout = layout_of("sketchy", "sake")
    plant(root / "dataset" / "Sketchy", kind, layout, per_class=1)
    plant_lists(root / "dataset" / "Sketchy", kind, layout, "sketchy-25")
    kind, layout = layout_of("tuberlin", "sake")
    plant(root / "dataset" / "TUBerlin", kind, layout, per_class=1)
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
    "sake.tar.gz": lambda files: tar_of(files, "w:gz"),
    "outer.zip": lambda files: zip_of({"readme.txt": b"", "down/inner.zip": zip_of(files)}),
    "outer.tar": lambda files: tar_of({"a/b/inner.tar.xz": tar_of(files, "w:xz")}),
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
def test_two_archives_in_one_call_or_two(mode: list[str], runner: CliRunner, tmp_path: Path, origin: Path) -> None:
    for folder in ("png", "ImageResized"):
        (tmp_path / f"{folder}.zip").write_bytes(zip_of(files_below(origin / "tu", folder)))
    one = runner.invoke(app, ["data", "add", "tuberlin", "png.zip", *mode])
    assert (one.exit_code, "not usable yet: ImageResized is missing" in one.stdout) == (0, True)
    assert runner.invoke(app, ["data", "check", "tuberlin"]).exit_code == 3
    assert runner.invoke(app, ["data", "add", "tuberlin", "ImageResized.zip", *mode]).exit_code == 0
    assert (
        runner.invoke(
            app, ["data", "add", "tuberlin", "ImageResized.zip", "png.zip", "--data-root", "both", *mode]
        ).exit_code
        == 0
    )
    wanted = expected(origin / "tu", "tuberlin")
    assert added("tuberlin") == added("tuberlin", Path("both")) == wanted
    assert (tmp_path / "data" / "TUBerlin" / "png").exists() != bool(mode)
    assert "500\t-\tbench run -m ours -d tuberlin" not in runner.invoke(app, ["data", "where"]).stdout
    assert "tuberlin\tdata/TUBerlin\trelease\t250\t250\t-" in runner.invoke(app, ["data", "where"]).stdout


@pytest.mark.parametrize(("options", "links"), [([], True), (["--link"], True), (["--copy"], False)])
def test_a_folder(options: list[str], links: bool, runner: CliRunner, tmp_path: Path, origin: Path) -> None:
    result = runner.invoke(app, ["data", "add", "sketchy", str(origin), *options])
    assert result.exit_code == 0, result.stderr
    assert added("sketchy") == expected(origin / "dataset" / "Sketchy", "sketchy")
    assert (tmp_path / "data" / "Sketchy" / "EXTEND_image_sketchy_ready").is_symlink() == links
    again = runner.invoke(app, ["data", "add", "sketchy", str(origin), *options])
    assert (again.exit_code, "copied" in again.stdout) == (0, False)


def test_a_folder_that_holds_archives(runner: CliRunner, tmp_path: Path, origin: Path) -> None:
    for folder in ("png", "ImageResized"):
        path = tmp_path / "downloads" / f"{folder}.zip"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zip_of(files_below(origin / "tu", folder)))
    (tmp_path / "downloads" / "other.zip").write_bytes(b"PK\3\4 broken")
    result = runner.invoke(app, ["data", "add", "tuberlin", "downloads"])
    assert result.exit_code == 0, result.stderr
    assert added("tuberlin") == expected(origin / "tu", "tuberlin")


def test_class_folders_at_the_top_of_an_archive(runner: CliRunner, tmp_path: Path, origin: Path) -> None:
    for folder in ("png", "ImageResized"):
        (tmp_path / f"{folder}.zip").write_bytes(zip_of(files_below(origin / "tu" / folder)))
    assert runner.invoke(app, ["data", "add", "tuberlin", "png.zip", "ImageResized.zip"]).exit_code == 0
    assert added("tuberlin") == expected(origin / "tu", "tuberlin")


def test_what_is_missing_and_what_else_is_there(
    runner: CliRunner, tmp_path: Path, origin: Path, sketchy: dict[str, bytes]
) -> None:
    both = {**sketchy, **files_below(origin, "dataset/TUBerlin")}
    (tmp_path / "dataset.zip").write_bytes(zip_of(both))
    result = runner.invoke(app, ["data", "add", "sketchy", "dataset.zip"])
    assert "also there   tuberlin: `bench data add tuberlin dataset.zip`" in result.stdout
    assert runner.invoke(app, ["data", "add", "tuberlin", "dataset.zip"]).exit_code == 0
    assert added("tuberlin") == expected(origin / "dataset" / "TUBerlin", "tuberlin")


def test_a_part_of_the_classes_is_placed_and_called_unusable(runner: CliRunner, tmp_path: Path, origin: Path) -> None:
    files = {path: each for path, each in files_below(origin / "tu").items() if path.split("/")[1] in ("cat", "dog")}
    (tmp_path / "part.zip").write_bytes(zip_of(files))
    result = runner.invoke(app, ["data", "add", "tuberlin", "part.zip"])
    assert result.exit_code == 3
    assert "2 of 250 classes" in result.stdout
    assert files_below(tmp_path / "data" / "TUBerlin") == files
