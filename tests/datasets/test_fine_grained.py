"""Fine-grained splits of every dataset that has them: which photo belongs to which sketch, and what is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.base import DATASETS
from bench.datasets.checks.check import check
from bench.datasets.folder import Folder, FolderSettings
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.sketchy import Sketchy
from bench.errors import DataError
from bench.fine_grained import FineGrainedSplit
from tests.datasets.trees import plant, plant_qmul, write

SKETCHES = "256x256/sketch/tx_000000000000_ready"
ORIGINALS = "256x256/photo/tx_000000000000_ready"
EXTEND = "EXTEND_image_sketchy_ready"


def fine(kind: str, root: Path, split: str) -> FineGrainedSplit:
    found = DATASETS.get(kind)(root).split(split)
    assert isinstance(found, FineGrainedSplit)
    return found


@pytest.fixture
def sketchy(tmp_path: Path) -> Path:
    """Sketchy with two original photos of each class, repeated in EXTEND, and one photo that only EXTEND has."""
    root = tmp_path / "Sketchy"
    plant(root, Sketchy, Sketchy.layouts[0])
    for name in ("cup", "swan"):
        write(root / EXTEND / name / "ext_1.jpg")
    return root


def test_a_sketch_of_sketchy_belongs_to_the_original_photo_of_its_name(sketchy: Path) -> None:
    write(sketchy / SKETCHES / "cup" / "n00000000_1-2.png", sketch=True)
    split = fine("sketchy", sketchy.parent, "sketchy-25-fine")
    assert split.grouped
    assert split.zero_shot
    assert {item.path.rpartition("/")[0] for item in split.gallery} == {f"{ORIGINALS}/{name}" for name in split.unseen}
    assert Counter(item.class_name for item in split.gallery) == dict.fromkeys(split.unseen, 2)
    cup = [item for item in split.queries if item.class_name == "cup"]
    assert [item.instance for item in cup] == ["n00000000_0", "n00000000_1", "n00000000_1"]
    arrays = split.label_arrays()
    photo_of = dict(zip(arrays["gallery_labels"].tolist(), split.gallery, strict=True))
    for label, item in zip(arrays["query_labels"].tolist(), split.queries, strict=True):
        assert (photo_of[label].class_name, photo_of[label].instance) == (item.class_name, item.instance)
    assert not any("ext_" in item.path for item in split.train)
    both = fine("sketchy", sketchy.parent, "sketchy-25-fine-all")
    assert not both.grouped
    assert both.gallery == split.gallery


def test_a_sketch_whose_photo_is_missing_is_refused(sketchy: Path) -> None:
    for folder in (ORIGINALS, EXTEND):
        (sketchy / folder / "cup" / "n00000000_0.JPEG").unlink()
    with pytest.raises(DataError, match=r"n00000000_0-1\.png .* missing"):
        fine("sketchy", sketchy.parent, "sketchy-25-fine")
    assert any("missing" in each for each in check(Sketchy(sketchy.parent), "sketchy-25-fine").problems)


def test_the_classes_on_disk_are_a_fine_grained_subset(sketchy: Path) -> None:
    for folder in (SKETCHES, ORIGINALS, EXTEND):
        shutil.rmtree(sketchy / folder / "swan")
    split = fine("sketchy", sketchy.parent, "sketchy-25-fine-all:available")
    assert split.name == "sketchy-25-fine-all:available-124-of-125"
    assert not split.grouped
    assert len(split.gallery) == 2 * 24


def test_a_photo_without_a_sketch_stays_in_the_gallery(sketchy: Path) -> None:
    write(sketchy / ORIGINALS / "cup" / "n00000000_77.jpg")
    assert "n00000000_77" in {item.instance for item in fine("sketchy", sketchy.parent, "sketchy-25-fine").gallery}


def test_two_photos_of_one_instance_are_refused(tmp_path: Path) -> None:
    for name in ("sketch/cup/red-1.png", "photo/cup/red.jpg", "photo/cup/red.png"):
        write(tmp_path / name)
    with pytest.raises(DataError, match=r"red\.jpg and .*red\.png are both"):
        Folder(tmp_path, FolderSettings(root=str(tmp_path), unseen="all")).split("folder-fine")


def test_a_photo_in_a_seen_and_an_unseen_class_is_refused(sketchy: Path) -> None:
    write(sketchy / ORIGINALS / "pig" / "n00000000_0.jpg")  # a photo of cup
    with pytest.raises(DataError, match="n00000000_0 is in unseen class 'cup'"):
        fine("sketchy", sketchy.parent, "sketchy-25-fine")


def test_the_published_counts_of_the_fine_grained_splits() -> None:
    twenty_one, twenty_five = (read_class_split(f"sketchy-{each}-fine").published for each in (21, 25))
    assert (twenty_one["queries"], twenty_one["gallery_originals"]) == (12_694, 2_100)
    assert (twenty_five["queries"], twenty_five["gallery_originals"]) == (15_229, 2_500)


def test_an_instance_of_a_folder_is_a_file_stem(tmp_path: Path) -> None:
    for name in ("boot-1", "boot-2", "shoe-7-1", "shoe-7", "bare"):
        write(tmp_path / "sketch" / "x" / f"{name}.png", sketch=True)
    for name in ("boot", "shoe-7", "bare", "alone"):
        write(tmp_path / "photo" / "x" / f"{name}.jpg")
    dataset = Folder(tmp_path, FolderSettings(root=str(tmp_path), unseen="all"))
    split = dataset.split("folder-fine")
    assert [item.instance for item in split.queries] == ["bare", "boot", "boot", "shoe-7", "shoe-7"]
    assert dataset.split(split.name) == split  # as a stored run asks for it
    assert [split.clusters[label] for label in split.cluster_labels(split.queries)] == [
        item.instance for item in split.queries
    ]


def test_emoji_has_one_picture_of_each_unseen_class(tmp_path: Path) -> None:
    split = fine("emoji", tmp_path, "emoji-93-fine")
    assert (len(split.queries), len(split.gallery), len({item.instance for item in split.gallery})) == (431, 93, 93)
    assert not split.zero_shot
    assert not {item.instance for item in split.train} & {item.instance for item in split.gallery}
    subgroup = fine("emoji", tmp_path, "emoji-93-fine-subgroup")
    sizes = Counter(item.class_name for item in subgroup.gallery)
    chance = sum(1 / sizes[item.class_name] for item in subgroup.gallery) / len(subgroup.gallery)
    assert chance == pytest.approx(0.46, abs=0.005)


def test_tuning_holds_out_instances_that_are_trained_on_by_the_other_splits(tmp_path: Path) -> None:
    split, tuning = (fine("emoji", tmp_path, f"emoji-93-fine{each}") for each in ("", ":tuning"))
    tested = {item.instance for item in tuning.gallery}
    assert tested <= {item.instance for item in split.train}
    assert not tested & {item.instance for item in tuning.train}
    assert {item.path.rpartition("/")[2] for item in tuning.gallery} == {"twemoji.webp"}


@pytest.mark.parametrize("name", ["shoev2", "chairv2"])
def test_both_layouts_of_qmul_hold_the_same_split(name: str, tmp_path: Path) -> None:
    kind = DATASETS.get(name)
    root = tmp_path / "a" / kind.title
    plant_qmul(root)
    split = fine(name, tmp_path / "a", name)
    assert (len(split.queries), len(split.gallery), len(split.train)) == (6, 3, 9)
    assert not split.zero_shot
    lists = tmp_path / "b" / kind.title
    for side, letters in (("train", "AB"), ("test", "AB")):
        for letter, modality in zip(letters, ("sketch", "photo"), strict=True):
            for file in (root / f"{side}{letter}").iterdir():
                write(lists / f"{kind.title}_{modality}" / file.name, modality == "sketch")
        names = sorted(file.name for file in (root / f"{side}B").iterdir())
        (lists / f"photo_{side}.txt").write_text("\n".join(names))
    other = fine(name, tmp_path / "b", name)
    assert [item.instance for item in other.queries] == [item.instance for item in split.queries]
    assert [item.instance for item in other.gallery] == [item.instance for item in split.gallery]
    (lists / "photo_train.txt").write_text("\n".join([*names, "100.png"]))
    with pytest.raises(DataError, match="in both lists"):
        fine(name, tmp_path / "b", name)


def test_the_copies_of_shoev2_in_circulation_are_named(tmp_path: Path) -> None:
    plant_qmul(tmp_path / "ShoeV2")
    remarks = " ".join(check(DATASETS.get("shoev2")(tmp_path)).remarks)
    assert "6,648" in remarks
    assert "6,730" in remarks
    with pytest.raises(DataError, match=r"not found .* for a folder ChairV2"):
        DATASETS.get("chairv2")(tmp_path).split()


def test_the_check_says_that_a_split_is_not_zero_shot(tmp_path: Path, runner: CliRunner) -> None:
    plant_qmul(tmp_path / "ShoeV2")
    found = runner.invoke(app, ["--data-root", str(tmp_path), "data", "check", "shoev2"])
    assert found.exit_code == 0
    assert "not zero-shot" in found.stdout


@pytest.mark.parametrize(
    ("split", "parent"),
    [("tuberlin-21-unseen-by-sketchy", "tuberlin-30"), ("quickdraw-11-unseen-by-sketchy", "quickdraw-30")],
)
def test_splits_for_networks_of_sketchy_have_the_unseen_classes_that_it_does_not_train_on(
    split: str, parent: str
) -> None:
    from bench.datasets.published.class_names import key

    seen = {key(name) for name in read_class_split("sketchy-25").seen}
    wanted = tuple(name for name in read_class_split(parent).unseen if key(name) not in seen)
    assert read_class_split(split).unseen == wanted
    assert len(wanted) == int(split.split("-")[1])
