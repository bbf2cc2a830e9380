"""Embed the images of a run, or read the embeddings of the same network and files from the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.embeddings import binary_codes as itq
from bench.embeddings.arrays import Embeddings, Rows
from bench.embeddings.cache import EmbeddingCache
from bench.errors import IncompleteError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.progress import Observer
from bench.io import digest_of_json
from bench.methods.base import Method
from bench.settings.run_settings import in_key
from bench.training.embed import embed, embed_pixels
from bench.training.trained_networks import network_hash
from bench.types import Floats, Item, by_modality

HELD_BYTES = 4 * 2**30  # the largest gallery embeddings in memory; larger ones are written to disk
BLOCK_IMAGES = 2**15  # embedded between two writes to disk

Progress = Callable[[int], None]  # receives the number of embedded images


@dataclass(frozen=True)
class RowsOfRank0:
    """Stands for rows that only rank 0 reads, since it alone ranks; ``shape`` is rows and width."""

    shape: tuple[int, int]

    def __getitem__(self, part: slice, /) -> Floats:
        """Raises RuntimeError."""
        raise RuntimeError("only rank 0 has these rows")


@dataclass
class Embedder:
    """Embeds images with the network of an experiment. All ranks call each method together.

    ``embedded`` counts the images that were not read from the cache.
    """

    method: Method
    experiment: Experiment
    resources: Resources
    device: torch.device
    embedded: int = 0

    @property
    def cache(self) -> EmbeddingCache:
        """The cache of embeddings."""
        return EmbeddingCache(self.resources.cache_dir)

    def embed_split(self, observer: Observer, *, reuse: bool = True) -> Embeddings:
        """Embeddings of queries and gallery.

        A gallery larger than ``HELD_BYTES`` is read in blocks, unless post-processing needs all of it.
        """
        split = self.experiment.split
        queries, total = len(split.queries), len(split.queries) + len(split.gallery)
        query = self.embed_items(split.queries, lambda done: observer.progress(done, total, {}), reuse=reuse)
        gallery = self.embed_gallery(
            split.gallery, query.shape[1], lambda done: observer.progress(queries + done, total, {}), reuse=reuse
        )
        return Embeddings(query, gallery, **split.label_arrays())

    def embed_items(self, items: Sequence[Item], progress: Progress, *, reuse: bool = True) -> Floats:
        """Embeddings of items of one modality, float32 [items, width]."""
        key, processes = self.key(items), self.resources.processes
        cached = self.cache.read(key) if reuse and processes.leads else None
        sent = processes.broadcast_tensor(torch.from_numpy(cached) if cached is not None else None)
        if sent is not None:
            progress(len(items))
            return sent.numpy()
        vectors = self._embed(items, progress)
        if processes.leads:
            self.cache.write(key, vectors)
        return vectors

    def embed_gallery(self, items: Sequence[Item], width: int, progress: Progress, *, reuse: bool = True) -> Rows:
        """As ``embed_items`` for photos whose embeddings have ``width`` numbers; rows on disk if they are too many.

        Raises StorageError when the disk is full.
        """
        post, processes = self.experiment.post, self.resources.processes
        if 4 * width * len(items) <= HELD_BYTES or post.codes != "none" or post.rerank != "none":
            return self.embed_items(items, progress, reuse=reuse)
        key = self.key(items)
        rows: Rows | None = self.cache.read_shards(key) if reuse and processes.leads else None
        if processes.broadcast(rows is not None):
            progress(len(items))
        else:
            with self.cache.writing_shards(key) if processes.leads else nullcontext() as writer:
                for begin in range(0, len(items), BLOCK_IMAGES):
                    vectors = self._embed(items[begin : begin + BLOCK_IMAGES], progress, begin)
                    if writer is not None:  # the labels are not read: those of the split count
                        writer.add("gallery", vectors, np.zeros(len(vectors), dtype=np.int64))
            rows = self.cache.read_shards(key) if processes.leads else None
        return rows if rows is not None else RowsOfRank0((len(items), width))

    def fit_codes(self) -> itq.Itq | None:
        """Binary codes, fitted on the test queries or on the training images, and cached; None except on rank 0."""
        post, split, processes = self.experiment.post, self.experiment.split, self.resources.processes
        images = (split.queries, split.gallery) if post.codes == "itq-test" else by_modality(split.train)
        key = digest_of_json([*map(self.key, images), self.experiment.seed, post.bits])
        cached = self.cache.read_arrays(f"{key}.itq") if processes.leads else None
        if processes.broadcast(cached is not None):
            return itq.Itq(**cached) if cached else None
        sketches, photos = (self.embed_items(items, lambda done: None) for items in images)
        if not processes.leads:
            return None
        codes = itq.fit(sketches, photos, np.random.default_rng(self.experiment.seed), bits=post.bits or None)
        self.cache.write_arrays(f"{key}.itq", vars(codes))
        return codes

    def embed_images(self, images: Images, *, is_photo: bool, progress: Callable[[int, int], None]) -> Floats:
        """Embeddings of images of one modality, without the cache, by all ranks: float32 [images, width]."""
        return embed(
            self.method,
            images,
            is_photo=is_photo,
            device=self.device,
            precision=self.experiment.precision,
            mirror=self.experiment.post.test_mirror,
            progress=progress,
            processes=self.resources.processes,
        )

    def embed_pixels(self, pixels: torch.Tensor, *, is_photo: bool) -> Floats:
        """Embeddings of a few images, uint8 [images, 3, size, size], in one batch: float32 [images, width]."""
        precision, mirror = self.experiment.precision, self.experiment.post.test_mirror
        return embed_pixels(self.method, pixels, is_photo, self.device, precision, mirror=mirror)

    def key(self, items: Sequence[Item]) -> str:
        """The hash of everything that the embeddings of items depend on: 64 hex digits."""
        experiment, paths = self.experiment, [item.path for item in items]
        dataset, split = experiment.identity["configuration"]["dataset"], experiment.split
        return self.key_of([dataset, split.dataset, split.content, paths, experiment.dataset.stamp(paths)])

    def key_of(self, images: Sequence[object]) -> str:
        """The hash of the network and of ``images``, which identify the images: 64 hex digits.

        The backbone's name covers what its tensors do not: paddings, activations, normalisation of images.
        """
        method, run = self.experiment.method, self.experiment.run
        backbone = run.backbone if self.method.uses_backbone else ""
        network = [method.name, method.version, in_key(self.experiment.own), backbone, network_hash(self.method)]
        mirror = ["mirror"] * self.experiment.post.test_mirror
        parts = [*network, self.experiment.test_size, self.experiment.precision, *mirror, *images]
        return digest_of_json(parts, sort_keys=False)  # as the entries of older versions

    def _embed(self, items: Sequence[Item], progress: Progress, before: int = 0) -> Floats:
        """Embed without the cache; ``before`` is added to the progress. Raises IncompleteError for NaN and infinity."""
        self.embedded += len(items)
        experiment, processes = self.experiment, self.resources.processes
        images = Images(experiment.dataset, processes.part(items), experiment.test_size, workers=self.resources.workers)
        vectors = self.embed_images(
            images,
            is_photo=items[0].modality == "photo",
            progress=lambda done, _: progress(before + min(len(items), done * processes.size)),
        )
        if not np.isfinite(vectors).all():
            raise IncompleteError(
                f"The network gives NaN or infinity after epoch {experiment.run.epochs:g}: lower --lr or --set "
                "head_lr=..."
            )
        return vectors
