"""The embeddings that a run needs, from the cache if the same network embedded the same files before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.devices import autocast, to_pixels
from bench.embeddings import binary_codes as itq
from bench.embeddings.arrays import Embeddings, Labelled, Rows, StreamedEmbeddings
from bench.embeddings.cache import EmbeddingCache
from bench.errors import IncompleteError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.progress import Observer
from bench.methods.base import Method
from bench.training.embed import embed
from bench.training.trained_networks import network_hash
from bench.types import Floats, Item

HELD_BYTES = 4 * 2**30  # of the embeddings of a gallery in memory; a larger one is written to the disk
BLOCK_IMAGES = 2**15  # embedded between one write to the disk and the next

Progress = Callable[[int], None]  # gets the number of images that are embedded


@dataclass(frozen=True)
class RowsOfRank0:
    """Rows that only rank 0 can read, since it alone ranks; ``shape`` is rows and width."""

    shape: tuple[int, int]

    def vectors(self, begin: int, end: int) -> Floats:
        """Raises RuntimeError."""
        raise RuntimeError("only rank 0 has these rows")


@dataclass(frozen=True)
class Embedder:
    """Embeds images with the network of an experiment. All processes of a run call each method together."""

    method: Method
    experiment: Experiment
    resources: Resources
    device: torch.device

    @property
    def cache(self) -> EmbeddingCache:
        """Where embeddings are kept."""
        return EmbeddingCache(self.resources.cache_dir)

    def embed_split(self, observer: Observer, *, reuse: bool = True) -> tuple[Embeddings | StreamedEmbeddings, int]:
        """Embeddings of queries and gallery, and how many images were embedded now, not read from the cache.

        A gallery of more than ``HELD_BYTES`` is read in blocks, unless what follows needs all of it.
        """
        split = self.experiment.split
        queries, total = len(split.queries), len(split.queries) + len(split.gallery)
        query, new_queries = self.embed_items(
            split.queries, lambda done: observer.progress(done, total, {}), reuse=reuse
        )
        gallery, new_photos = self.embed_gallery(
            split.gallery, query.shape[1], lambda done: observer.progress(queries + done, total, {}), reuse=reuse
        )
        labels, gallery_labels = split.test_labels(split.queries), split.test_labels(split.gallery)
        if isinstance(gallery, np.ndarray):
            return Embeddings(query, gallery, labels, gallery_labels), new_queries + new_photos
        return StreamedEmbeddings(query, labels, Labelled(gallery, gallery_labels)), new_queries + new_photos

    def embed_items(self, items: Sequence[Item], progress: Progress, *, reuse: bool = True) -> tuple[Floats, int]:
        """Embeddings of items of one modality, float32 [items, width], and how many were embedded now."""
        key, processes = self.key(items), self.resources.processes
        kept = self.cache.read(key) if reuse and processes.leads else None
        cached = processes.broadcast_tensors(({"embeddings": torch.from_numpy(kept)}, {}) if kept is not None else None)
        if cached is not None:
            progress(len(items))
            return cached[0]["embeddings"].numpy(), 0
        vectors = self._embed(items, progress)
        if processes.leads:
            self.cache.write(key, vectors)
        return vectors, len(items)

    def embed_gallery(
        self, items: Sequence[Item], width: int, progress: Progress, *, reuse: bool = True
    ) -> tuple[Floats | Rows, int]:
        """As ``embed_items`` for photos whose embeddings have ``width`` numbers; rows on the disk if they are too many.

        Raises StorageError when the disk is full.
        """
        post, processes = self.experiment.post, self.resources.processes
        if 4 * width * len(items) <= HELD_BYTES or post.codes != "none" or post.rerank != "none":
            return self.embed_items(items, progress, reuse=reuse)
        key = self.key(items)
        kept = self.cache.read_shards(key) if reuse and processes.leads else None
        cached = processes.broadcast(kept is not None)
        if cached:
            progress(len(items))
        else:
            with self.cache.writing_shards(key) if processes.leads else nullcontext() as writer:
                for begin in range(0, len(items), BLOCK_IMAGES):
                    vectors = self._embed(items[begin : begin + BLOCK_IMAGES], progress, begin)
                    if writer is not None:  # labels are the split's, not the network's
                        writer.add("gallery", vectors, np.zeros(len(vectors), dtype=np.int64))
            kept = self.cache.read_shards(key) if processes.leads else None
        return kept if kept is not None else RowsOfRank0((len(items), width)), 0 if cached else len(items)

    def fit_codes(self) -> itq.Itq | None:
        """What makes binary codes, fitted on the test queries or on the training images; None except on rank 0.

        Fitting wide codes takes longer than embedding, so the result is cached.
        """
        post, split, seed, processes = (
            self.experiment.post,
            self.experiment.split,
            self.experiment.seed,
            self.resources.processes,
        )
        images: list[Sequence[Item]] = [split.queries, split.gallery]
        if post.codes != "itq-test":
            images = [[item for item in split.train if item.modality == modality] for modality in ("sketch", "photo")]
        key = _hash([*map(self.key, images), seed, post.bits])
        kept = self.cache.read_quantiser(key) if processes.leads else None
        if processes.broadcast(kept is not None):
            return kept
        sketches, photos = (self.embed_items(items, lambda done: None)[0] for items in images)
        if not processes.leads:
            return None
        codes = itq.fit(sketches, photos, np.random.default_rng(seed), bits=post.bits or None)
        self.cache.write_quantiser(key, codes)
        return codes

    def embed_pixels(self, pixels: torch.Tensor, *, is_photo: bool) -> Floats:
        """Embeddings of a few images, uint8 [images, 3, size, size], in one batch: float32 [images, width]."""
        with torch.inference_mode(), autocast(self.device, self.experiment.precision):
            vectors = self.method.embed(to_pixels(pixels, self.device), is_photo)
        return (vectors if isinstance(vectors, np.ndarray) else vectors.float().cpu().numpy()).astype(np.float32)

    def key(self, items: Sequence[Item]) -> str:
        """The hash of all that embeddings of items depend on: 64 hex digits."""
        experiment, paths = self.experiment, [item.path for item in items]
        dataset, split = experiment.identity["configuration"]["dataset"], experiment.split
        return self.key_of([dataset, split.dataset, split.content, paths, experiment.dataset.stamp(paths)])

    def key_of(self, images: Sequence[object]) -> str:
        """The hash of the network and of ``images``, what identifies the images: 64 hex digits.

        The backbone's name stands for what its tensors do not hold: paddings, activations, how images are normalised.
        """
        method, run = self.experiment.method, self.experiment.run
        backbone = run.backbone if self.method.uses_backbone else ""
        network = [method.name, method.version, asdict(self.experiment.own), backbone, network_hash(self.method)]
        return _hash([*network, run.image_size, self.experiment.precision, *images])

    def _embed(self, items: Sequence[Item], progress: Progress, before: int = 0) -> Floats:
        """Embed now; ``before`` is added to the progress. Raises IncompleteError for NaN and infinity."""
        run, processes = self.experiment.run, self.resources.processes
        vectors = embed(
            self.method,
            Images(self.experiment.dataset, processes.part(items), run.image_size, workers=self.resources.workers),
            is_photo=items[0].modality == "photo",
            device=self.device,
            precision=self.experiment.precision,
            progress=lambda done, _: progress(before + min(len(items), done * processes.size)),
            processes=processes,
        )
        if not np.isfinite(vectors).all():
            raise IncompleteError(
                f"The network gives NaN or infinity after epoch {run.epochs:g}: lower --lr or --set head_lr=..."
            )
        return vectors


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
