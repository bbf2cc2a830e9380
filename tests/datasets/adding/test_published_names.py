"""An archive at all published names of a split gives its published lists to the byte; skipped without these lists."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.sketchy import Sketchy
from tests.datasets.test_published_lists import ZSE, digest_in_manifest
from tests.datasets.trees import SHARED, TINY_PHOTO

SOURCE = ZSE / "Sketchy" / "zeroshot1"
LISTS = ("sketch_tx_000000000000_ready_filelist_zero.txt", "all_photo_filelist_zero.txt", "cname_cid.txt")
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the published lists are not beside the repository")


def sake() -> bytes:
    """SAKE's zip: the test images of Sketchy, a sketch and a photo of each seen class, and the lists."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in LISTS:
            content = gzip.decompress((SOURCE / f"{name}.gz").read_bytes())
            archive.writestr(f"dataset/Sketchy/zeroshot1/{name}", content)
            if not name.startswith("cname"):
                for line in content.decode().splitlines():
                    archive.writestr(f"dataset/Sketchy/{line.rpartition(' ')[0]}", TINY_PHOTO)
        for name in read_class_split("sketchy-25").seen:
            archive.writestr(f"dataset/Sketchy/256x256/sketch/tx_000000000000_ready/{name}/n1-1.png", TINY_PHOTO)
            archive.writestr(f"dataset/Sketchy/EXTEND_image_sketchy_ready/{name}/ext_1.jpg", TINY_PHOTO)
    return buffer.getvalue()


def test_the_lists_of_sketchy_25(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "dataset.zip").write_bytes(sake())
    result = runner.invoke(app, ["data", "add", "sketchy", "dataset.zip", "--in-place"])
    assert result.exit_code == 0, result.output
    split = Sketchy(Path("data")).split()
    for items, name in zip((split.queries, split.gallery), LISTS, strict=False):
        digest = digest_in_manifest(SOURCE / f"{name}.gz")
        assert hashlib.sha256((tmp_path / "data/Sketchy/zeroshot1" / name).read_bytes()).hexdigest() == digest
        labels = split.test_labels(items).tolist()
        text = "".join(f"{item.path} {label}\n" for item, label in zip(items, labels, strict=True))
        assert hashlib.sha256(text.encode()).hexdigest() == digest
