"""``bench data check``: counts, known copies, classes, duplicates, overlap with ImageNet."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.datasets.base import DATASETS, Survey
from bench.datasets.checks.check import Findings, check
from bench.datasets.folder import Folder, FolderSettings
from bench.datasets.published.published_counts import class_counts
from bench.datasets.published.tree_dataset import TreeDataset
from bench.datasets.tuberlin import TUBerlin
from tests.datasets.trees import picture, plant, put_list, touch_all, write


@pytest.fixture
def tuberlin(tmp_path: Path) -> TUBerlin:
    """One picture a class and modality, in the layout of the two archives as they unpack."""
    kind = TUBerlin
    layout = next(layout for layout in kind.layouts if layout.name == "release")
    plant(tmp_path / "TUBerlin", kind, layout, per_class=1)
    return TUBerlin(tmp_path)


def remark(found: Findings, part: str) -> str:
    (sentence,) = [each for each in found.remarks if part in each]
    return sentence


def test_a_copy_that_is_not_the_published_one(tuberlin: TUBerlin) -> None:
    found = check(tuberlin)
    assert found.problems == ()
    assert "20,000 (all 250" in remark(found, "250 sketches match no known copy")
    assert "204,070 (the smaller copy" in remark(found, "250 photos match no known copy")
    assert "2,400" in remark(found, "30 queries")
    assert "250" in remark(found, "published counts")
    row = next(row for row in found.classes if row.class_name == "banana")
    assert (row.side, row.sketches, row.published_sketches, row.photos, row.published_photos) == (
        "unseen",
        1,
        80,
        1,
        1194,
    )
    assert row.differs


class Counted(TUBerlin):
    """TU-Berlin with given counts."""

    photos: int

    def survey(self) -> Survey:
        names = list(class_counts("tuberlin"))
        photos = dict.fromkeys(names, 0)
        photos[names[0]] = self.photos
        return Survey({"sketch": dict.fromkeys(names, 80), "photo": photos})


@pytest.mark.parametrize(("photos", "words"), [(204_070, "the smaller copy"), (204_489, "the figure that most papers")])
def test_copies_are_known_by_name(photos: int, words: str, tmp_path: Path) -> None:
    dataset = Counted(tmp_path)
    dataset.photos = photos
    found = check(dataset)
    assert remark(found, "photos are").startswith(f"{photos:,} photos are {words}")
    assert remark(found, "sketches are") == "20,000 sketches are all 250 classes of 80 sketches"
    assert found.split is None
    assert "was not found" in found.problems[0]


def test_missing_foreign_and_stray(tuberlin: TUBerlin) -> None:
    root = tuberlin.data_root / "TUBerlin"
    (root / "png" / "banana" / "0 0.png").unlink()
    touch_all(root, ["png/unicorn/1.png", "ImageResized/bus/bus.txt"])
    found = check(TUBerlin(tuberlin.data_root))
    assert found.split is None
    assert len([each for each in found.problems if "banana" in each]) == len(found.problems) == 2
    assert remark(found, "no class").endswith("1 (png/unicorn)")
    assert remark(found, "no image").endswith("1 (ImageResized/bus/bus.txt)")
    assert {row.side for row in found.classes} == {""}


def test_files_that_differ_by_case_alone(tuberlin: TUBerlin) -> None:
    folder = tuberlin.data_root / "TUBerlin" / "png" / "bus"
    write(folder / "A.png", sketch=True)
    if (folder / "a.png").exists():
        pytest.skip("this file system does not tell cases apart")
    write(folder / "a.png", sketch=True)
    assert remark(check(tuberlin), "only by case").endswith("1 (png/bus/A.png and png/bus/a.png)")


def test_overlap_with_imagenet(tuberlin: TUBerlin) -> None:
    banana = next((tuberlin.data_root / "TUBerlin" / "ImageResized" / "banana").iterdir())
    banana.rename(banana.with_name("n07753592_7382.JPEG"))
    found = check(tuberlin)
    assert {"banana", "ant", "canoe"} <= {each.class_name for each in found.overlaps}
    assert "horse" not in {each.class_name for each in found.overlaps}
    assert found.photos_from_imagenet == 1


def test_the_deep_check_reads_every_file_of_the_split(tmp_path: Path) -> None:
    same = picture(seed=1)
    contents = {
        "sketch/a/1.png": picture(seed=2),
        "sketch/b/1.png": same,
        "sketch/a/2.png": same,
        "photo/a/1.png": picture(seed=3),
        "photo/b/1.png": picture(seed=4),
        "photo/b/2.png": picture(seed=4),
        "photo/b/3.png": picture(seed=3),
        "photo/b/4.png": b"",
    }
    for path, content in contents.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    dataset = Folder(tmp_path, FolderSettings(root=str(tmp_path), unseen="b"))
    shallow = check(dataset)
    assert (shallow.problems, shallow.images, shallow.duplicates) == ((), None, None)
    calls: list[tuple[int, int]] = []
    found = check(dataset, deep=True, progress=lambda done, all: calls.append((done, all)))
    assert calls[-1] == (8, 8)
    (problem,) = found.problems
    assert "photo/b/4.png is an empty file" in problem
    assert remark(found, "seen and unseen").endswith(
        ": 2 (photo/a/1.png = photo/b/3.png; sketch/a/2.png = sketch/b/1.png)"
    )
    assert remark(found, "also training").endswith(": 1 (photo/a/1.png = photo/b/3.png)")
    assert remark(found, "duplicate in the gallery").endswith(": 1 (photo/b/1.png = photo/b/2.png)")
    assert found.images is not None
    assert len(found.images.digests) == 7


def test_a_broken_list_is_a_problem_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    kind = DATASETS.get("quickdraw")
    assert issubclass(kind, TreeDataset)
    plant(tmp_path / "QuickDraw", kind, kind.layouts[0], per_class=1)
    put_list(tmp_path / "QuickDraw" / "zeroshot" / "sketch_zero.txt", ["../secrets.png 0"])
    found = check(kind(tmp_path))
    assert "leaves the dataset's folder" in found.problems[0]
    assert found.survey.total("sketch") == 110


def test_the_embedded_dataset_is_sound(tmp_path: Path) -> None:
    found = check(DATASETS.get("emoji")(tmp_path))
    assert found.problems == ()
    assert found.remarks == ()
    assert len(found.classes) == 406
