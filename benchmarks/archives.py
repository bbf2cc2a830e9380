"""Images in a zip archive: read in place against read from files, and unpacked against `unzip`.

Run: python benchmarks/archives.py [--images N] [--size PIXELS] > docs/archives-benchmark.md

The archive is deflated, as `zip -r` writes it. Both sides of a comparison take turns: reading by blocks of images,
unpacking by repeats. Reading counts processor time, because other programs may run on the machine.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.datasets.adding.add import Adding
from bench.datasets.images.decode import decode, to_square
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.files import read_file
from bench.datasets.tuberlin import TUBerlin
from bench.experiments.progress_bars import Bars
from bench.provenance import processor

DISTINCT = 200  # pictures, repeated under other names
BLOCK = 250  # images of one side before the other has its turn
TARGET = 0.8
SILENT = Bars("adding", quiet=True)


def generate(root: Path, count: int) -> list[str]:
    """Photos of TU-Berlin's layout `release` with the statistics of photographs; their paths."""
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(min(DISTINCT, count)):
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((256, 256))
        pixels = np.clip(np.asarray(coarse, dtype=np.float64) + random.normal(0, 12, (256, 256, 3)), 0, 255)
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    names = read_class_split("tuberlin-30").seen
    paths = [f"ImageResized/{names[number % len(names)]}/{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(pictures[number % len(pictures)])
    return paths


def add(archive: Path, data_root: Path, mode: str) -> Path:
    """Add an archive as `bench data add` does, without the check; the dataset's folder."""
    with Adding(TUBerlin(data_root), [str(archive)]) as adding:
        adding.place(adding.find(SILENT), mode, SILENT)
        return adding.root


def compare(roots: Sequence[Path], paths: Sequence[str], use: Callable[[bytes], object]) -> list[float]:
    """Seconds of processor time to read and use every image below each root."""
    seconds = [0.0] * len(roots)
    for first in range(0, len(paths), BLOCK):
        block = paths[first : first + BLOCK]
        for side, root in enumerate(roots):
            start = time.process_time()
            for path in block:
                use(read_file(root, path))
            seconds[side] += time.process_time() - start
    return seconds


def unpack(archive: Path, folder: Path, tool: str) -> tuple[float, float]:
    """Seconds by the clock and of processors that unpacking takes."""
    target, before, clock = folder / tool, os.times(), time.perf_counter()
    if tool == "unzip":
        subprocess.run(["unzip", "-q", str(archive), "-d", str(target)], check=True)
    else:
        add(archive, target, "copy")
    seconds, after = time.perf_counter() - clock, os.times()
    shutil.rmtree(target)
    return seconds, sum(after[:4]) - sum(before[:4])


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = generate(folder / "files", options.images)
        archive = Path(shutil.make_archive(str(folder / "photos"), "zip", folder / "files"))
        mark = time.perf_counter()
        roots = (folder / "files", add(archive, folder / "in-place", "in-place"))
        indexing = time.perf_counter() - mark
        rows = {
            "read": compare(roots, paths, lambda content: None),
            f"read, decode, resize to {options.size}": compare(
                roots, paths, lambda content: to_square(decode(content, "image"), options.size)
            ),
        }
        tools = [tool for tool in ("unzip", "bench data add") if tool != "unzip" or shutil.which("unzip")]
        unpacked = {tool: [unpack(archive, folder, tool) for _ in range(options.repeats)] for tool in tools}
        megabytes = archive.stat().st_size / 1e6
    lines = [
        f"| {what} | {options.images / plain:,.0f} | {options.images / packed:,.0f} | {plain / packed:.2f} |"
        for what, (plain, packed) in rows.items()
    ]
    times = [
        f"| `{tool}` | {min(clock for clock, _ in each):.1f} | {min(cpu for _, cpu in each):.1f} |"
        for tool, each in unpacked.items()
    ]
    print(f"""# How fast images in archives are read

Is an image read from a zip archive as fast as from a file? {options.images:,} JPEGs of 256x256 pixels are in one
deflated zip of {megabytes:,.0f} MB. Both sides read the same images in turns, on one thread, from the page cache.
The index is made in {indexing:.1f} s. This page is the output of:

```sh
python benchmarks/archives.py
```

Images a second of processor time:

| | files | zip in place | ratio |
| --- | ---: | ---: | ---: |
{chr(10).join(lines)}

The target for what a run does, the second row, is {TARGET}. Reading alone also inflates each image and checks its CRC.

Unpacking the whole archive, in seconds:

| | by the clock | of processors |
| --- | ---: | ---: |
{chr(10).join(times)}

Machine: {processor()}. The load average was {load_before:.1f} before and {os.getloadavg()[0]:.1f} after. Above the
number of cores, compare processor time only.""")


if __name__ == "__main__":
    main()
