"""QuickDraw Extended: 110 classes, sketches of Quick, Draw!, photos collected for them."""

from __future__ import annotations

from bench.datasets.base import DATASETS
from bench.datasets.published.layouts import Layout, Lists
from bench.datasets.published.tree_dataset import TreeDataset

LISTS = Lists("zeroshot/sketch_{}.txt", "zeroshot/all_photo_{}.txt")


@DATASETS.register("quickdraw")
class QuickDraw(TreeDataset):
    """About 330,000 sketches and 204,000 photos; layouts and counts: docs/datasets.md."""

    name = "quickdraw"
    summary = "QuickDraw Extended: 110 classes; two class splits, and one for networks of Sketchy."
    licence = "sketches: CC BY 4.0 (Google, Quick, Draw!); photos: research use, see doodle2search"
    addresses = (  # of doodle2search's README
        "http://datasets.cvc.uab.es/QuickDraw/QuickDraw_sketches_final.zip",
        "http://datasets.cvc.uab.es/QuickDraw/QuickDraw_images_final.zip",
    )
    split_names = ("quickdraw-30", "quickdraw-30-kdsbir", "quickdraw-11-unseen-by-sketchy")
    drawn = (".ndjson", ".npy")
    titles = ("QuickDraw", "QuickDraw_Extended", "QuickDrawExt", "QuickDraw-Ext")
    archives = (
        "QuickDraw_sketches_final.zip and QuickDraw_images_final.zip of doodle2search",
        "QuickDraw/ of ZSE-SBIR (sketches/, images/ and zeroshot/ with file lists)",
    )
    layouts = (
        Layout(
            name="zse-sbir",
            source="ZSE-SBIR README and data_utils/utils.py lines 9-50",
            sketches=("sketches",),
            photos=("images",),
            lists={"quickdraw-30": (LISTS,)},
        ),
        Layout(
            name="doodle2search",
            source="doodle2search src/data/quickdraw_extended.py lines 90-92, the archives as they unpack",
            sketches=("QuickDraw_sketches_final",),
            photos=("QuickDraw_images_final",),
        ),
        Layout(
            name="doodle2search-test",
            source="doodle2search src/data/quickdraw_extended.py lines 124-125",
            sketches=("QuickDraw_sketches",),
            photos=("EXTEND_image_quickdraw",),
        ),
        Layout(
            name="plain",
            source="one folder a modality, as Sketch_LVM has it for Sketchy",
            sketches=("sketch",),
            photos=("photo",),
        ),
    )
