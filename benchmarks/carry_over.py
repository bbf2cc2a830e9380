"""Networks trained on `emoji`, on pictures of an artist that they never saw and on photos.

    python benchmarks/carry_over.py --runs N ... [--store FILE] [--cache-dir DIR] [--icons icons.json] [--stamps DIR]

The queries are the sketches of the unseen classes of `emoji`. They rank three galleries, and the mean mAP@all over
queries is printed for each:

emoji    the pictures of the unseen classes
icons    a set of icons as npm has it (`npm pack @iconify-json/streamline-emojis`): an icon belongs to the class of its
         name, all others distract
stamps   the photos of Tux Paint (`apt-get download tuxpaint-stamps-default`, folder usr/share/tuxpaint/stamps): a photo
         belongs to a class if its file's name holds every word of the class's name; all others distract

Pictures are cropped and centred as those of `emoji` are. Queries without a picture of their class are left out.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import resvg_py
import torch
from PIL import Image

import bench

SIDE, MARGIN = 128, 6  # pixels, those of `emoji`
BATCH = 64
DRAWN = ("alphabets", "cartoon", "chess", "flags", "math", "music", "roadsigns", "shapes")  # folders without photos
Pictures = list[tuple[str, Image.Image]]  # class (or another name) and picture


def centre(picture: Image.Image) -> Image.Image:
    """The visible part of a picture in the middle of a white square."""
    part = picture.convert("RGBA")
    part = part.crop(part.getchannel("A").getbbox())
    part.thumbnail((SIDE - 2 * MARGIN, SIDE - 2 * MARGIN), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIDE, SIDE), "white")
    square.alpha_composite(part, ((SIDE - part.width) // 2, (SIDE - part.height) // 2))
    return square.convert("RGB")


def read_icons(file: Path) -> Pictures:
    """The icons of one of Iconify's JSON files."""
    found = json.loads(file.read_text())
    pictures = []
    for name, icon in found["icons"].items():
        width, height = (icon.get(side, found.get(side, 16)) for side in ("width", "height"))
        text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        content = bytes(resvg_py.svg_to_bytes(text, width=4 * SIDE))
        pictures.append((name, centre(Image.open(io.BytesIO(content)))))
    return pictures


def read_stamps(folder: Path, classes: Iterable[str]) -> Pictures:
    """The photos of Tux Paint."""
    pictures = []
    for path in sorted(folder.rglob("*.png")):
        parts = path.relative_to(folder).parts
        if any(each in DRAWN for each in parts):
            continue
        words = set(re.split(r"[^a-z]+", path.stem.lower()))
        own = [name for name in classes if words.issuperset(name.split("-"))]
        pictures.append((max(own, key=len) if own else "/".join(parts), centre(Image.open(path))))
    return pictures


def embed(network: bench.Network, pictures: Sequence[Image.Image], *, sketches: bool) -> torch.Tensor:
    """Embeddings float32 [pictures, width]."""
    apply = network.embed_sketches if sketches else network.embed_photos
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            part = [network.preprocess(each, sketch=sketches) for each in pictures[start : start + BATCH]]
            rows.append(apply(torch.stack(part)))
    return torch.cat(rows)


def score(queries: torch.Tensor, names: Sequence[str], gallery: torch.Tensor, kinds: Sequence[str]) -> float:
    """mAP@all over the queries that have a picture of their class."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys((*names, *kinds)))}
    kept = [position for position, name in enumerate(names) if name in set(kinds)]
    labels = [np.array([numbers[each] for each in own]) for own in ([names[n] for n in kept], kinds)]
    found = bench.evaluate(queries[kept].numpy(), gallery.numpy(), query_labels=labels[0], gallery_labels=labels[1])
    return found.scores["mAP@all:plain"]


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", required=True, metavar="N")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--icons", type=Path)
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--limit", type=int, help="so many sketches and pictures of each class")
    options = parser.parse_args()
    stored = {run.number: run for run in bench.runs(store=options.store)}
    if missing := set(options.runs) - stored.keys():
        parser.error(f"the store has no finished run {min(missing)}")
    split = bench.load_split("emoji")
    split = split.limited(options.limit) if options.limit else split
    read = {}
    for role in ("queries", "gallery"):
        pictures = split.torch_dataset(role)
        read[role] = [(item.class_name, pictures[n][0]) for n, item in enumerate(split.items(role))]
    galleries = {"emoji": read["gallery"]}
    if options.icons:
        galleries["icons"] = read_icons(options.icons)
    if options.stamps:
        galleries["stamps"] = read_stamps(options.stamps, split.unseen)
    names = [name for name, _ in read["queries"]]
    for title, gallery in galleries.items():
        kinds = {name for name, _ in gallery}
        asked = [name for name in names if name in kinds]
        print(f"{title}: {len(asked)} queries of {len(set(asked))} classes, {len(gallery)} pictures")
    print("\n| run | network | " + " | ".join(galleries) + " |\n| --- | --- |" + " --- |" * len(galleries))
    for number in options.runs:
        run = stored[number]
        network = bench.load_network(run, store=options.store, cache_dir=options.cache_dir)
        queries = embed(network, [picture for _, picture in read["queries"]], sketches=True)
        cells = []
        for gallery in galleries.values():
            vectors = embed(network, [picture for _, picture in gallery], sketches=False)
            cells.append(f"{score(queries, names, vectors, [name for name, _ in gallery]):.3f}")
        print(f"| {number} | {run.title}, seed {run.seed} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
