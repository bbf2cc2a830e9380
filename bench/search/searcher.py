"""Search photos with a sketch of your own, by the network of a stored run: its gallery, or a folder of photos."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.datasets.base import Dataset
from bench.datasets.images.loader import Images
from bench.datasets.images.user_sketch import decode_sketch
from bench.embeddings.arrays import Embeddings, Rows, rows_at
from bench.errors import DataError
from bench.evaluation.ranking import rank
from bench.evaluation.reranking import Icfrr
from bench.evaluation.similarity import Measure, measure
from bench.experiments.embed_split import Embedder
from bench.experiments.experiment import Resources
from bench.experiments.stored_run import load_embedder
from bench.results.models import RunRecord
from bench.search.photo_folder import PhotoFolder
from bench.types import Floats, Item

log = logging.getLogger("bench.search.searcher")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Match:
    """A photo that matches a sketch: its place from 1, its position among the photos, its class, its similarity.

    ``instance`` is what the photo shows in a fine-grained split, otherwise empty.
    """

    place: int
    position: int
    path: str
    class_name: str
    similarity: float
    instance: str = ""


class Searcher:
    """Ranks photos for a sketch as a run ranks its gallery, with its binary codes or re-ranking. Threads may share it.

    ``photos`` are the items of the rows of ``embeddings`` float32 [photos, width]; ``dataset`` reads their files.
    """

    def __init__(self, embedder: Embedder, dataset: Dataset, photos: Sequence[Item], embeddings: Rows) -> None:
        self.embedder, self.experiment = embedder, embedder.experiment
        self.dataset, self.photos = dataset, photos
        self._quantiser = quantiser = embedder.fit_codes() if self.experiment.post.codes != "none" else None
        self._rescore = None
        self._labels = np.zeros(len(photos), dtype=np.int64)  # a label that no sketch has
        self._gallery = quantiser.codes(embeddings[:], quantiser.photo_mean) if quantiser else embeddings
        if self.experiment.post.rerank == "icfrr":
            of_photos = Embeddings(embeddings[:], embeddings, self._labels, self._labels)
            self._rescore = Icfrr(of_photos, self.experiment.post)
        distance = self.experiment.post.distance
        self._measure = measure(self._gallery[:1], self._gallery, distance, cosines=quantiser is None)
        # Two queries at once only wait for each other's cores, and two huge pictures would share the memory.
        self._one_at_a_time = threading.Lock()

    @property
    def similarity(self) -> str:
        """What the similarity of a photo is, in words."""
        if self._quantiser is not None:
            return f"part of {self._gallery.shape[1]} bits that agree"
        return "cosine similarity" + (", order re-ranked" if self._rescore is not None else "")

    def query(self, content: bytes, name: str, count: int) -> list[Match]:
        """The ``count`` photos most similar to the sketch in a picture file, best first; ties by position.

        Raises DataError with ``name`` for what is no picture, too large or empty.
        """
        with self._one_at_a_time:
            pixels = decode_sketch(content, name, self.experiment.test_size)[None]
            best = self.rank(self.embedder.embed_pixels(pixels, is_photo=False), count)
        return [
            Match(place, n, self.photos[n].path, self.photos[n].class_name, alike, self.photos[n].instance)
            for place, (n, alike) in enumerate(best, start=1)
        ]

    def rank(self, sketch: Floats, count: int) -> list[tuple[int, float]]:
        """Position and similarity of the ``count`` best photos for ``sketch`` float32 [1, width], best first."""
        if self._quantiser is not None:
            sketch = self._quantiser.codes(sketch, self._quantiser.sketch_mean)
        best = rank(
            Embeddings(sketch, self._gallery, np.ones(1, dtype=np.int64), self._labels),
            (),
            distance=self.experiment.post.distance,
            top=count,
            rescore=self._rescore,
            measure=self._measure,
        ).top
        photos = rows_at(self._gallery, best[0].astype(np.int64))[:]
        unit = Measure("cosine").queries
        alike = (photos == sketch).mean(axis=1) if self._quantiser else unit(photos) @ unit(sketch)[0]
        return list(zip(best[0].tolist(), alike.tolist(), strict=True))


def open_searcher(
    run: RunRecord, resources: Resources, *, photos: Path | None, weights: Path | None, progress: Progress
) -> Searcher:
    """A searcher of a stored run's gallery, or of the pictures below the folder ``photos``.

    Raises UsageError for a run that has no network, LoadingError when its network is not in the cache (with the way to
    train it again), DataError for photos or images of the run that are missing.
    """
    embedder = load_embedder(run, resources, weights)
    experiment = embedder.experiment
    if photos is None:
        items = experiment.split.gallery
        blank = torch.zeros(1, 3, *[experiment.test_size] * 2, dtype=torch.uint8)
        width = embedder.embed_pixels(blank, is_photo=True).shape[1]
        gallery = embedder.embed_gallery(items, width, lambda done: progress(done, len(items)))
        return Searcher(embedder, experiment.dataset, items, gallery)
    folder = PhotoFolder(photos)
    readable, vectors = _embed_folder(embedder, folder, folder.items, progress)
    return Searcher(embedder, folder, readable, vectors)


class _Readable(Images):
    """Images of which one that cannot be read is black, and its position is in ``unreadable``."""

    def __getitem__(self, index: int) -> Tensor:
        try:
            return super().__getitem__(index)
        except DataError as error:
            log.warning("Left out: %s", error)
            self.unreadable.append(index)
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8)

    @cached_property
    def unreadable(self) -> list[int]:
        return []


def _embed_folder(
    embedder: Embedder, folder: PhotoFolder, items: list[Item], progress: Progress
) -> tuple[list[Item], Floats]:
    """The pictures that can be read and their embeddings, float32 [photos, width]; kept until a file changes.

    Raises DataError when none can be read.
    """
    key = embedder.key_of([str(folder.data_root.resolve()), folder.stamp(item.path for item in items)])
    vectors = embedder.cache.read(key)
    if vectors is None:
        images = _Readable(folder, items, embedder.experiment.test_size)
        vectors = embedder.embed_images(images, is_photo=True, progress=progress)
        vectors[images.unreadable] = np.nan
        embedder.cache.write(key, vectors)
    progress(len(items), len(items))
    readable: npt.NDArray[np.bool_] = np.isfinite(vectors[:, 0])  # a row has numbers or NaN only
    if not readable.any():
        raise DataError(f"No picture in {folder.data_root} can be read: name a folder with whole ones.")
    return [item for item, good in zip(items, readable, strict=True) if good], vectors[readable]
