"""A sketch of one's own against the photos of a stored run, or any others, by the network that the run trained."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.datasets.base import Dataset
from bench.datasets.images.loader import Images
from bench.datasets.images.user_sketch import drawing
from bench.datasets.published.split_variants import reopen
from bench.devices import autocast, choose_device, to_pixels
from bench.embeddings.arrays import Rows
from bench.embeddings.binary_codes import Itq
from bench.errors import DataError, IncompleteError, LoadingError, UsageError
from bench.experiments.embed_split import Embedder
from bench.experiments.execute import build
from bench.experiments.request import Experiment, Resources, weights_identity
from bench.experiments.stored import queried_classes
from bench.methods.backbone.published_weights import file_of_hash
from bench.methods.base import METHODS, Method
from bench.results.models import RunRecord
from bench.results.store import Store
from bench.search.photo_folder import PhotoFolder
from bench.search.rank_one import SingleQuery
from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import RunSettings
from bench.training.embed import embed
from bench.training.pretrained import file_of, opened
from bench.training.trained_networks import Networks
from bench.types import Floats, Item

log = logging.getLogger("bench.search.searcher")
Progress = Callable[[int, int], None]
# Options of the program that a recorded call may hold, none of which changes what is trained.
GLOBAL = r"(?:--(?:store|data-root|cache-dir|config)[= ](?:'[^']*'|\S+)|-q|-v|--quiet|--verbose)"


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
        self.method, self.experiment, self.device = method, experiment, device
        self.dataset, self.photos = dataset, photos
        self.ranked = SingleQuery(embeddings, experiment.post, quantiser)
        # Two forward passes at once only wait for each other's cores, two huge pictures would share the memory.
        self._one_at_a_time = threading.Lock()

    def query(self, content: bytes, name: str, count: int) -> list[Found]:
        """The ``count`` photos most similar to the sketch in a picture file, best first; ties by position.

        Raises DataError with ``name`` for what is no picture, too large or empty.
        """
        with self._one_at_a_time, torch.inference_mode(), autocast(self.device, self.experiment.precision):
            pixels = drawing(content, name, self.experiment.run.image_size)[None]
            vector = self.method.embed(to_pixels(pixels, self.device), False)
        asked = vector if isinstance(vector, np.ndarray) else vector.float().cpu().numpy()
        order, alike = self.ranked(asked.astype(np.float32))
        return [
            Found(place, int(n), self.photos[n].path, self.photos[n].class_name, float(alike[n]))
            for place, n in enumerate(order[:count], start=1)
        ]


def searcher(
    run: RunRecord,
    store: Store,
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
    experiment = experiment_of(run, store, resources, weights)
    method = build(experiment, resources, device).eval()
    trains = bool(method.weights) and experiment.trained is None
    if trains and Networks(resources.cache_dir).load(experiment.training_key, method) is None:
        raise LoadingError(
            f"The network of run {run.id} is not in the cache folder {resources.cache_dir}: name the one that it was "
            f"trained with by --cache-dir, or train it again by `{again(run)}`."
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


def stored_run(store: Store, number: int) -> RunRecord:
    """The finished run of a number; raises IncompleteError when there is none or it did not finish."""
    found = store.runs(id=number, metrics=())
    if not found:
        raise IncompleteError(f"There is no run {number}: `bench report --kind cost` and `bench list runs` tell them.")
    if found[0].status not in ("done", "superseded"):
        raise IncompleteError(f"Run {number} is {found[0].status}: name one that was finished.")
    return found[0]


def experiment_of(run: RunRecord, store: Store, resources: Resources, weights: Path | None) -> Experiment:
    """What was asked of a stored run, with its images as they are here; ``weights`` is the file that it began with."""
    if run.origin:
        raise UsageError(
            f"Run {run.id} holds embeddings that were made elsewhere, and no network to embed a sketch by."
        )
    kind = METHODS.get(run.method)
    configuration = run.configuration
    settings = RunSettings(**configuration["run"])
    trained = opened(file_of(run, resources.cache_dir)) if "checkpoint" in configuration else None
    if trained is None and settings.weights.startswith("sha256:"):
        settings = replace(settings, weights=str(_checked(run, settings.weights, weights)))
    elif weights is not None:
        raise UsageError(f"Run {run.id} did not begin with a file of weights: leave out --weights.")
    dataset, split = reopen(run, resources.data_root, queried_classes(run, store))
    return Experiment(
        method=kind,
        dataset=dataset,
        split=split,
        seed=run.seed,
        run=settings,
        own=kind.Settings(**configuration["method"]),
        post=PostProcessing(**configuration.get("post", {})),
        selection=run.selection,
        gallery=run.gallery,
        precision=configuration.get("precision", "fp32"),
        per_class_limit=run.per_class_limit,
        dropped=configuration.get("dropped", {}),
        trained=trained,
    )


def again(run: RunRecord) -> str:
    """The command that trains the network of a run again: the call that it came from, without its global options.

    >>> from types import SimpleNamespace
    >>> again(SimpleNamespace(environment={"command": "bench --store .../a.db -q ablate --structural"}))
    'bench ablate --structural --force'
    """
    called = str(run.environment.get("command", ""))
    call = re.fullmatch(rf"bench (?:{GLOBAL} )*((?:run|ablate)\b.*)", called)
    if call:
        return f"bench {re.sub(rf' {GLOBAL}(?= |$)', '', call[1])} --force"
    return f"bench run -m {run.method} -d {run.dataset} --split {run.split} --seed {run.seed} --force"


def _checked(run: RunRecord, digest: str, weights: Path | None) -> Path:
    if weights is None:
        weights = file_of_hash(run.configuration["run"]["backbone"], digest.removeprefix("sha256:"))
    if weights is None:
        raise LoadingError(f"Run {run.id} began with a file of weights ({digest[:19]}...): name it by --weights.")
    if weights_identity(str(weights)) != digest:
        raise LoadingError(f"Weights file {weights} is not the one that run {run.id} began with ({digest[:19]}...).")
    return weights


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
