"""A sketch of one's own against the photos of a stored run, or any others, by the network that the run trained."""

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
from bench.datasets.images.user_sketch import drawing
from bench.devices import autocast, choose_device, to_pixels
from bench.embeddings.arrays import Embeddings, Gallery, Labelled, Part, Rows, StreamedEmbeddings, Whole
from bench.embeddings.binary_codes import Itq
from bench.errors import DataError, LoadingError
from bench.evaluation.ranking import rank
from bench.evaluation.reranking import Icfrr
from bench.evaluation.similarity import measure
from bench.experiments.embed_split import Embedder
from bench.experiments.execute import build
from bench.experiments.request import Experiment, Resources
from bench.experiments.stored import load_experiment
from bench.methods.base import Method
from bench.results.models import RunRecord
from bench.search.photo_folder import PhotoFolder
from bench.settings.request import Request
from bench.training.embed import embed
from bench.training.trained_networks import Networks
from bench.types import Floats, Item

log = logging.getLogger("bench.search.searcher")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """A photo that came back: its place from 1, its position among the photos, its class and how similar it is."""

    place: int
    position: int
    path: str
    class_name: str
    similarity: float


class Searcher:
    """Photos embedded once, and queries against them; several threads may ask at the same time.

    ``photos`` are the items in the order of the rows of ``embeddings`` float32 [photos, width], ``dataset`` reads them.
    They are ranked as the run ranks: with its binary codes or re-ranking, if it has any.
    """

    def __init__(
        self,
        method: Method,
        experiment: Experiment,
        device: torch.device,
        dataset: Dataset,
        photos: Sequence[Item],
        embeddings: Floats | Rows,
        quantiser: Itq | None,
    ) -> None:
        self.method, self.experiment, self.device, self.dataset, self.photos = (
            method,
            experiment,
            device,
            dataset,
            photos,
        )
        self._quantiser, self._rescore = quantiser, None
        labels = np.zeros(len(photos), dtype=np.int64)  # a label that no sketch has
        if isinstance(embeddings, np.ndarray):
            self._gallery: Gallery = Whole(quantiser.of_photos(embeddings) if quantiser else embeddings, labels)
            if experiment.post.rerank == "icfrr":
                self._rescore = Icfrr(Embeddings(embeddings, embeddings, labels, labels), experiment.post)
        else:
            self._gallery = Labelled(embeddings, labels)
        self._measure = measure(self._gallery.vectors(0, 1), self._gallery, experiment.post.distance)
        # Two queries at once only wait for each other's cores, and two huge pictures would share the memory.
        self._one_at_a_time = threading.Lock()

    @property
    def similarity(self) -> str:
        """What the similarity of a photo is, in words."""
        if self._quantiser is not None:
            return f"part of {self._gallery.shape[1]} bits that agree"
        return "cosine similarity" + (", order re-ranked" if self._rescore is not None else "")

    def query(self, content: bytes, name: str, count: int) -> list[Found]:
        """The ``count`` photos most similar to the sketch in a picture file, best first; ties by position.

        Raises DataError with ``name`` for what is no picture, too large or empty.
        """
        with self._one_at_a_time, torch.inference_mode(), autocast(self.device, self.experiment.precision):
            pixels = drawing(content, name, self.experiment.run.image_size)[None]
            vector = self.method.embed(to_pixels(pixels, self.device), False)
            sketch = vector if isinstance(vector, np.ndarray) else vector.float().cpu().numpy()
            best = self.ranked(sketch.astype(np.float32), count)
        return [
            Found(place, n, self.photos[n].path, self.photos[n].class_name, alike)
            for place, (n, alike) in enumerate(best, start=1)
        ]

    def ranked(self, sketch: Floats, count: int) -> list[tuple[int, float]]:
        """Position and similarity of the ``count`` best photos for ``sketch`` float32 [1, width], best first."""
        if self._quantiser is not None:
            sketch = self._quantiser.of_sketches(sketch)
        best = rank(
            StreamedEmbeddings(sketch, np.ones(1, dtype=np.int64), self._gallery),
            (),
            distance=self.experiment.post.distance,
            top=count,
            rescore=self._rescore,
            measure=self._measure,
        ).top
        if best is None:
            return []
        photos = Part(self._gallery, best[0].astype(np.int64)).vectors(0, best.shape[1])
        unit = self._measure.queries
        alike = (photos == sketch).mean(axis=1) if self._quantiser else unit(photos) @ unit(sketch)[0]
        return list(zip(best[0].tolist(), alike.tolist(), strict=True))


def searcher(
    run: RunRecord,
    resources: Resources,
    *,
    photos: Path | None,
    weights: Path | None,
    progress: Progress,
) -> Searcher:
    """What searches with the network of a stored run: its own gallery, or the pictures below the folder ``photos``.

    Raises UsageError for a run that has no network, LoadingError when its network is not in the cache (with the way to
    make it again), DataError for photos or images of the run that are missing.
    """
    device = choose_device(resources.device)
    experiment = load_experiment(run, resources, weights=weights)
    method = build(experiment, resources, device).eval()
    trains = bool(method.weights) and experiment.trained is None
    if trains and Networks(resources.cache_dir).load(experiment.training_key, method) is None:
        raise LoadingError(
            f"The network of run {run.id} is not in the cache folder {resources.cache_dir}: name the one that it was "
            f"trained with by --cache-dir, or train it again by `{Request.from_json(run.request).command()} --force`."
        )
    embedder = Embedder(method, experiment, resources, device)
    codes = embedder.fit_codes() if experiment.post.codes != "none" else None
    if photos is None:
        items: Sequence[Item] = experiment.split.gallery
        total = len(items)
        with torch.inference_mode():
            width = method.embed(torch.zeros(1, 3, *[experiment.run.image_size] * 2, device=device), True).shape[1]
        found, _ = embedder.embed_gallery(items, width, lambda done: progress(done, total))
        return Searcher(method, experiment, device, experiment.dataset, items, found, codes)
    folder = PhotoFolder(photos)
    items = folder.items
    vectors = _embed_folder(embedder, folder, items, progress)
    whole: npt.NDArray[np.bool_] = np.isfinite(vectors[:, 0])  # a row is of numbers or of NaN
    if not whole.any():
        raise DataError(f"No picture in {photos} can be read: name a folder with whole ones.")
    kept = [item for item, good in zip(items, whole, strict=True) if good]
    return Searcher(method, experiment, device, folder, kept, vectors[whole], codes)


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


def _embed_folder(embedder: Embedder, folder: PhotoFolder, items: list[Item], progress: Progress) -> Floats:
    """float32 [photos, width], NaN for pictures that cannot be read; kept until a file or the network changes."""
    key = embedder.key_of([str(folder.data_root.resolve()), folder.stamp(item.path for item in items)])
    vectors = embedder.cache.read(key)
    if vectors is not None:
        progress(len(items), len(items))
        return vectors
    experiment = embedder.experiment
    images = _Readable(folder, items, experiment.run.image_size)
    vectors = embed(
        embedder.method,
        images,
        is_photo=True,
        device=embedder.device,
        precision=experiment.precision,
        progress=progress,
    )
    vectors[images.unreadable] = np.nan
    embedder.cache.write(key, vectors)
    return vectors
