"""Published datasets: found or missing, by file list or by folder, gallery full or unique."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bench.datasets.base import DATASETS, Dataset
from bench.datasets.published.layouts import Layout
from bench.datasets.published.tree_dataset import TreeDataset
from bench.errors import DataError, UsageError
from bench.settings.run_settings import assign
from tests.datasets.trees import plant, plant_lists


def layout_of(dataset: str, name: str) -> tuple[type[TreeDataset], Layout]:
    kind = DATASETS.get(dataset)
    assert issubclass(kind, TreeDataset)
    return kind, next(layout for layout in kind.layouts if layout.name == name)


def opened(data_root: Path, dataset: str, *assignments: str) -> Dataset:
    kind = DATASETS.get(dataset)
    (settings,) = assign([kind.Settings()], assignments)
    return kind(data_root, settings)


@pytest.fixture(scope="module")
def sake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with Sketchy as SAKE's archive has it, lists of sketchy-25 included."""
    root = tmp_path_factory.mktemp("sake")
    kind, layout = layout_of("sketchy", "sake")
    plant(root / "Sketchy", kind, layout)
    plant_lists(root / "Sketchy", kind, layout, "sketchy-25")
    return root


@pytest.fixture(scope="module")
def without_originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    kind, layout = layout_of("sketchy", "plain")
    plant(root / "sketchy", kind, layout, per_class=1)
    return root


def test_lists_are_used_if_they_exist(sake: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bench.datasets")
    by_list = opened(sake, "sketchy").split()
    assert "layout sake, split sketchy-25 from published file lists, gallery full" in caplog.text
    by_folder = opened(sake, "sketchy", "files=folders").split()
    assert [item.path for item in by_list.gallery] != [item.path for item in by_folder.gallery]
    assert set(by_list.gallery) == set(by_folder.gallery)
    assert by_list.fingerprint == by_folder.fingerprint
    caplog.clear()
    assert opened(sake, "sketchy").split("sketchy-25-sempcyc").gallery_name == "unique"
    assert "split sketchy-25-sempcyc from class folders, gallery unique" in caplog.text


def test_both_galleries_and_neither_is_taken_for_the_other(sake: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = opened(sake, "sketchy", "photos=full").split()
    unique = opened(sake, "sketchy", "photos=unique").split()
    assert (full.gallery_name, unique.gallery_name) == ("full", "unique")
    assert len(full.gallery) == 2 * len(unique.gallery) == 2 * 25 * 2
    assert full.fingerprint != unique.fingerprint
    assert opened(sake, "sketchy").split() == full
    assert (
        "gallery 'unique', but published figures of split sketchy-25 rank gallery 'full' (17,101 photos)" in caplog.text
    )


def test_a_copy_without_the_originals_has_the_gallery_unique_and_warns(
    without_originals: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert opened(without_originals, "sketchy").split().gallery_name == "unique"
    assert "published figures of split sketchy-25 rank gallery 'full'" in caplog.text
    caplog.clear()
    assert opened(without_originals, "sketchy").split("sketchy-25-sempcyc").gallery_name == "unique"
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    with pytest.raises(DataError, match=r"Gallery 'full' of Sketchy needs the original photos .* photos=unique\.$"):
        opened(without_originals, "sketchy", "photos=full").split()


def test_missing_lists_are_an_error_if_required(without_originals: Path, sake: Path) -> None:
    for root, split in ((without_originals, "sketchy-25"), (sake, "sketchy-21"), (sake, "sketchy-25-sempcyc")):
        with pytest.raises(DataError, match=rf"Split '{split}' has no file lists below .*: put them there"):
            opened(root, "sketchy", "files=lists").split(split)


def test_a_root_of_ones_own_needs_no_data_root(sake: Path, tmp_path: Path) -> None:
    expected = opened(sake, "sketchy").split()
    for root in (sake / "Sketchy", sake):
        assert opened(tmp_path, "sketchy", f"root={root}").split() == expected


def test_moved_data_is_the_same_data(sake: Path, tmp_path: Path) -> None:
    moved = opened(tmp_path, "sketchy", f"root={sake}", "ink_crop=true")
    assert moved.identity() == opened(sake, "sketchy", "ink_crop=true").identity()
    assert moved.identity() != opened(sake, "sketchy").identity()
    assert "root" not in moved.identity()


def test_the_error_of_a_missing_dataset_holds_the_tree_and_the_existing_folders(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "TU-Berlin" / "pngs").mkdir(parents=True)
    dataset = opened(tmp_path, "tuberlin")
    with pytest.raises(DataError) as caught:
        dataset.split()
    message = str(caught.value)
    for part in (
        "Dataset 'tuberlin' was not found",
        f"{tmp_path} holds TU-Berlin/, holiday/",
        f"{tmp_path / 'TU-Berlin'} holds pngs/",
        f"unpack it to {tmp_path / 'TUBerlin'} as png_ready/<class>/*, ImageResized_ready/<class>/*",
        "--set root=PATH",
        "bench data path tuberlin",
    ):
        assert part in message
    where = dataset.whereabouts()
    assert (where.root, where.layout) == (None, "")
    assert set(where.expected) == {layout.name for layout in layout_of("tuberlin", "sake")[0].layouts}
    assert where.archives


def test_a_root_that_holds_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/none, .*none of these folders exists"):
        opened(tmp_path, "sketchy", f"root={tmp_path}/none").split()


def test_an_unknown_split_and_an_unknown_setting(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no split 'sketchy-24'. Did you mean 'sketchy-21'|'sketchy-25'"):
        opened(tmp_path, "sketchy").split("sketchy-24")
    with pytest.raises(UsageError, match=r"Setting 'photos' has no choice 'uniqe'. Did you mean 'unique'"):
        opened(tmp_path, "sketchy", "photos=uniqe")


def test_a_missing_image_is_named(sake: Path) -> None:
    with pytest.raises(DataError, match=r"Image nowhere/1.png cannot be read \(No such file"):
        opened(sake, "sketchy").read("nowhere/1.png")


def test_ignored_folders_and_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind, layout = layout_of("quickdraw", "plain")
    plant(tmp_path / "quickdraw", kind, layout, per_class=1)
    (tmp_path / "quickdraw" / "sketch" / "unicorn").mkdir()
    (tmp_path / "quickdraw" / "photo" / "zebra" / "zebra.txt").touch()
    dataset = opened(tmp_path, "quickdraw")
    dataset.split()
    assert "no class: 1 (sketch/unicorn ...)" in caplog.text
    survey = dataset.survey()
    assert survey.foreign == ("sketch/unicorn",)
    assert survey.stray == ("photo/zebra/zebra.txt",)
    assert survey.total("photo") == 110
    assert survey.missing == ()
