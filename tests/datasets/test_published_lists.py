"""Whole trees at the paths of the published file lists; skipped without these lists."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.datasets.base import DATASETS, Dataset
from bench.datasets.published.files import Listing, Walker
from bench.datasets.published.published_counts import class_counts
from tests.datasets.trees import SHARED

ZSE = SHARED / "filelists" / "buptLinfy+ZSE-SBIR" / "datasets"
SAKE = SHARED / "filelists" / "qliu24+SAKE" / "dataset"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the published lists are not beside the repository")

# One image a class stands for the training lists that are not public.
WITHOUT_LIST = {"TUBerlin": ["ImageResized_ready/{}/n1.JPEG"], "QuickDraw": ["sketches/{}/1.png", "images/{}/1.jpg"]}


def lines_of(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The lists themselves, and folders that hold every path of theirs: listed, not written (330,000 files)."""
    root = tmp_path_factory.mktemp("published")
    images: dict[Path, list[str]] = defaultdict(list)
    for home in (ZSE, SAKE):
        for source in sorted(home.glob("*/*/*.txt.gz")):
            dataset, folder, name = source.relative_to(home).parts
            target = root / dataset / folder / name.removesuffix(".gz")
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(gzip.decompress(source.read_bytes()))
            paths = [line.rpartition(" ")[0] for line in lines_of(source)]
            if name == "cname_cid.txt.gz":
                paths = [path.format(each) for path in WITHOUT_LIST.get(dataset, []) for each in paths]
            elif name.startswith("cname") or folder == "zeroshot0":  # the same images as zeroshot1
                continue
            for path in paths:
                where, _, image = path.rpartition("/")
                images[root / dataset / where].append(image)
    folders: dict[Path, set[str]] = defaultdict(set)
    for each in images:
        each.parent.mkdir(parents=True, exist_ok=True)
        folders[each.parent].add(each.name)

    def listing(walker: Walker, folder: str) -> Listing:
        where = walker.root / folder
        if where in images or where in folders:
            return Listing(folders=tuple(sorted(folders[where])), images=tuple(sorted(images[where])))
        return really(walker, folder)

    really = Walker._list
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Walker, "_list", listing)
        yield root


@pytest.mark.parametrize(
    ("name", "split_name", "sizes", "folder", "sketches", "photos"),
    [
        (
            "sketchy",
            "sketchy-25",
            (55_252 + 68_401, 5_000, 15_229, 17_101),
            "Sketchy/zeroshot1",
            "sketch_tx_000000000000_ready_filelist_zero",
            "all_photo_filelist_zero",
        ),
        (
            "sketchy",
            "sketchy-21",
            (57_587 + 72_949, 5_200, 12_694, 12_553),
            "Sketchy/zeroshot0",
            "sketch_tx_000000000000_ready_filelist_zero",
            "all_photo_filelist_zero",
        ),
        (
            "tuberlin",
            "tuberlin-30",
            (15_400 + 220, 2_200, 2_400, 27_989),
            "TUBerlin/zeroshot",
            "png_ready_filelist_zero",
            "ImageResized_ready_filelist_zero",
        ),
        (
            "quickdraw",
            "quickdraw-30",
            (80 + 80, 0, 92_291, 54_151),
            "QuickDraw/zeroshot",
            "sketch_zero",
            "all_photo_zero",
        ),
    ],
)
def test_a_split_is_its_published_lists(
    name: str,
    split_name: str,
    sizes: tuple[int, int, int, int],
    folder: str,
    sketches: str,
    photos: str,
    data_root: Path,
) -> None:
    dataset = DATASETS.get(name)(data_root)
    split = dataset.split(split_name)
    assert (len(split.train), len(split.validation), len(split.queries), len(split.gallery)) == sizes
    for items, listed in ((split.queries, sketches), (split.gallery, photos)):
        labels = split.test_labels(items).tolist()
        text = "".join(f"{item.path} {label}\n" for item, label in zip(items, labels, strict=True))
        source = ZSE / folder / f"{listed}.txt.gz"
        assert hashlib.sha256(text.encode()).hexdigest() == digest_in_manifest(source), listed


def digest_in_manifest(source: Path) -> str:
    """The SHA-256 of a list as it was published."""
    name = source.relative_to(SHARED / "filelists").as_posix().removesuffix(".gz")
    lines = (SHARED / "filelists" / "MANIFEST.txt").read_text().splitlines()
    return next(line.split()[0] for line in lines if line.endswith(f"  {name}"))


@pytest.mark.parametrize(
    ("split_name", "settings", "gallery"),
    [
        ("sketchy-25", {"photos": "unique"}, 14_601),
        ("sketchy-21", {"photos": "unique"}, 10_453),
        ("sketchy-25", {"files": "folders"}, 17_101),
        ("sketchy-25-sempcyc", {}, 14_626),
    ],
)
def test_the_other_galleries_of_sketchy(
    split_name: str, settings: dict[str, str], gallery: int, data_root: Path
) -> None:
    kind = DATASETS.get("sketchy")
    dataset: Dataset = kind(data_root, kind.Settings(**settings))
    assert len(dataset.split(split_name).gallery) == gallery


def test_all_of_sketchy_equals_the_embedded_counts(data_root: Path) -> None:
    survey = DATASETS.get("sketchy")(data_root).survey()
    assert (survey.total("sketch"), survey.total("photo")) == (75_481, 85_502)
    for class_name, published in class_counts("sketchy").items():
        assert survey.counts["sketch"][class_name] == published.sketches
        assert survey.counts["photo"][class_name] == published.gallery("full")


def test_the_lists_of_ma_zs_sbir_are_the_draw_of_sem_pcyc() -> None:
    """Its TU-Berlin test list gives the photo counts of ``tuberlin-30-sempcyc``."""
    counts: dict[tuple[str, str], int] = {}
    names = DATASETS.get("tuberlin")(Path()).names  # type: ignore[attr-defined]
    for row in csv.DictReader(lines_of(SHARED / "filelists" / "eunyi-lyou+MA-ZS-SBIR" / "test_tuberlin.csv.gz")):
        pair = (names.find(row["img_path"].split("/")[-2]), row["m1"])
        counts[pair] = counts.get(pair, 0) + 1
    published = class_counts("tuberlin")
    assert len(counts) == 60
    for (class_name, is_sketch), count in counts.items():
        expected = published[class_name]
        assert count == (expected.sketches if is_sketch == "1" else expected.photos), class_name
