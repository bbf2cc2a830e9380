"""TU-Berlin Extended: 250 classes, sketches of TU-Berlin, photos collected for them."""

from __future__ import annotations

from bench.datasets.base import DATASETS
from bench.datasets.published.layouts import Layout, Lists
from bench.datasets.published.tree_dataset import TreeDataset

LISTS = Lists("zeroshot/png_ready_filelist_{}.txt", "zeroshot/ImageResized_ready_filelist_{}.txt")

# Folder names of the photo archive that no spelling rule covers.
# Source: AnjanDutta/sem-pcyc download_datasets.sh, which renames them.
MISSPELT = {
    "spacesshuttle": "space shuttle",
    "wristwatching": "wrist-watch",
    "tromobone": "trombone",
    "chandeler": "chandelier",
    "griaffe": "giraffe",
    "diamod": "diamond",
    "spidar": "spider",
}


@DATASETS.register("tuberlin")
class TUBerlin(TreeDataset):
    """20,000 sketches, 80 a class, and about 204,000 photos; layouts and counts: docs/datasets.md."""

    name = "tuberlin"
    summary = "TU-Berlin Extended: 250 classes; three class splits, and one for networks of Sketchy."
    licence = "sketches: CC BY 4.0 (Eitz, Hays, Alexa 2012); photos: research use, largely ImageNet's"
    addresses = ("https://cybertron.cg.tu-berlin.de/eitz/projects/classifysketch/sketches_png.zip",)  # sketches alone
    split_names = ("tuberlin-30", "tuberlin-30-sempcyc", "tuberlin-30-kdsbir", "tuberlin-21-unseen-by-sketchy")
    drawn = (".svg",)
    titles = ("TUBerlin", "TU-Berlin", "TUBerlin_Extended", "TU-Berlin-Ext", "TUBerlinExt")
    aliases = MISSPELT
    archives = (
        "dataset.zip of SAKE, also used by ZSE-SBIR (Sketchy/, TUBerlin/ with file lists)",
        "sketches_png.zip of TU-Berlin and ImageResized (.zip): SEM-PCYC, doodle2search",
        "the train/val archives of ACNet and ClipPrompt; train/test of MA-ZS-SBIR",
    )
    layouts = (
        Layout(
            name="sake",
            source="SAKE and ZSE-SBIR archives, also DSN, TCN, ICFRR",
            sketches=("png_ready",),
            photos=("ImageResized_ready",),
            lists={"tuberlin-30": (LISTS,)},
        ),
        Layout(
            name="sem-pcyc",
            source="download_datasets.sh of SEM-PCYC and doodle2search",
            sketches=("sketches",),
            photos=("images",),
        ),
        Layout(name="release", source="the two archives as they unpack", sketches=("png",), photos=("ImageResized",)),
        Layout(
            name="acnet",
            source="ACNet and ClipPrompt",
            sketches=("train/sketch", "val/sketch"),
            photos=("train/photo", "val/photo"),
        ),
        Layout(
            name="ma-zs-sbir",
            source="MA-ZS-SBIR",
            sketches=("train/sketch", "test/sketch"),
            photos=("train/photo", "test/photo"),
        ),
        Layout(
            name="plain",
            source="one folder a modality, as Sketch_LVM has it for Sketchy",
            sketches=("sketch",),
            photos=("photo",),
        ),
    )
