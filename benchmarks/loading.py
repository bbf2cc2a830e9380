"""Images per second on one core: this project's loader and torchvision's ImageFolder.

Run: python benchmarks/loading.py [--images N] [--size PIXELS] [--repeats N] > docs/loading-benchmark.md

Both read the same generated JPEGs of 256x256 pixels and make normalised float32 batches, in one process on one thread:
read, decode, resize, flip at random, scale to 0..1, normalise. ImageFolder uses Pillow for each image (Resize,
RandomHorizontalFlip, ToTensor, Normalize). This project flips and normalises whole batches in reused memory. The two
alternate and the best repeat counts. Seconds are processor time, because other programs may run on the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from bench.datasets.folder import Folder, FolderSettings
from bench.datasets.images.loader import Images
from bench.provenance import processor
from bench.types import Item

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 64
CLASSES = 8
TARGET = 1.8


def generate(root: Path, count: int) -> list[Item]:
    """Images with the statistics of photographs: smooth colour noise with grain, JPEG quality 90."""
    random = np.random.default_rng(0)
    items = []
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize(
            (256, 256), Image.Resampling.BICUBIC
        )
        grain = random.normal(0, 12, (256, 256, 3))
        pixels = np.clip(np.asarray(coarse, dtype=np.float64) + grain, 0, 255).astype(np.uint8)
        class_name = f"class{number % CLASSES}"
        path = root / "photo" / class_name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
        items.append(Item(f"photo/{class_name}/{number}.jpg", class_name, "photo"))
    return items


def with_image_folder(root: Path, size: int) -> int:
    """One pass with torchvision's ImageFolder; the number of images."""
    usual = transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    loader = DataLoader(ImageFolder(root / "photo", usual), batch_size=BATCH)
    return sum(len(images) for images, _ in loader)


class Bench:
    """One pass with ``bench.datasets.images.loader``; images are not kept in memory."""

    def __init__(self, root: Path, items: list[Item], size: int) -> None:
        self.images = Images(Folder(root, FolderSettings(root=str(root))), items, size)
        self.batches = [list(range(first, min(first + BATCH, len(items)))) for first in range(0, len(items), BATCH)]
        # [batch, size, 3 * size]: channels last, as images are in memory.
        self.normalised = torch.empty((BATCH, size, 3 * size))
        self.scale = (1 / (255 * torch.tensor(STD))).repeat(size)
        self.offset = (-torch.tensor(MEAN) / torch.tensor(STD)).repeat(size)

    def __call__(self) -> int:
        """The number of images."""
        return sum(len(self.finish(self.images.stack(batch))) for batch in self.batches)

    def finish(self, pixels: Tensor) -> Tensor:
        """uint8 [batch, 3, size, size] to normalised float32, half of them mirrored."""
        size = pixels.shape[-1]
        mirrored = torch.rand(len(pixels)) < 0.5
        for row, mirror in enumerate(mirrored.tolist()):  # one image fits the processor's cache
            image = pixels[row].flip(-1) if mirror else pixels[row]
            flat = image.permute(1, 2, 0).reshape(size, 3 * size)
            torch.addcmul(self.offset, flat.float(), self.scale, out=self.normalised[row])
        return self.normalised[: len(pixels)].view(-1, size, size, 3).permute(0, 3, 1, 2)


def measure_rates(sides: dict[str, Callable[[], int]], repeats: int) -> dict[str, list[float]]:
    """Images per second of each side and repeat, after one warm-up."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, run in sides.items():
            start = time.process_time()
            count = run()
            if repeat:
                rates[name].append(count / (time.process_time() - start))
    return rates


def render_page(rates: dict[str, list[float]], options: argparse.Namespace, kilobytes: float, load: list[float]) -> str:
    """The result as Markdown: rates, ratio and machine."""
    rows = [
        f"| {name} | {max(each):,.0f} | {statistics.median(each):,.0f} | {min(each):,.0f} |"
        for name, each in rates.items()
    ]
    ratio = max(rates["this project"]) / max(rates["ImageFolder"])
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "pillow"))
    return f"""# How fast images are read

How many images a second does one core read? Each of {options.images} JPEGs of 256x256 pixels ({kilobytes:.0f} kB) is
read, decoded, resized to {options.size}x{options.size}, flipped at random and normalised. Batches are float32, {BATCH}
images each. One process with one thread reads; the two sides take turns, {options.repeats} times.

`ImageFolder` is torchvision's with Resize, RandomHorizontalFlip, ToTensor and Normalize. This page is the output of:

```sh
python benchmarks/loading.py
```

Images a second of processor time:

| | best | median | worst |
| --- | ---: | ---: | ---: |
{chr(10).join(rows)}

Ratio of the best: **{ratio:.2f}** (target {TARGET}).

Machine: {processor()}; {packages}.
The load average was {load[0]:.1f} before and {load[1]:.1f} after. Above the number of cores, compare the ratio only:
a quiet machine reads more images on both sides.
"""


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        items = generate(root, options.images)
        kilobytes = statistics.mean((root / item.path).stat().st_size for item in items) / 1000
        sides: dict[str, Callable[[], int]] = {
            "ImageFolder": lambda: with_image_folder(root, options.size),
            "this project": Bench(root, items, options.size),
        }
        rates = measure_rates(sides, options.repeats)
    load.append(os.getloadavg()[0])
    print(render_page(rates, options, kilobytes, load), end="")


if __name__ == "__main__":
    main()
