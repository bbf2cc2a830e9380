"""The embeddings that a run needs, from the cache where the same network gave them of the same files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.embeddings import binary_codes as itq
from bench.embeddings.arrays import Embeddings, Labelled, Rows, StreamedEmbeddings
from bench.embeddings.cache import EmbeddingCache
from bench.errors import IncompleteError
from bench.experiments.progress import Observer
from bench.experiments.request import Experiment, Resources
from bench.methods.base import Method
from bench.training.embed import embed
from bench.training.trained_networks import network_hash
from bench.types import Floats, Item

HELD_BYTES = 4 * 2**30  # of the embeddings of a gallery; what is larger goes to the disk block by block
BLOCK_IMAGES = 2**15  # embedded between one write to the disk and the next


@dataclass(frozen=True)
class Elsewhere:
    """Rows that the process that leads has: ``shape`` rows and width."""

    shape: tuple[int, int]

    def vectors(self, begin: int, end: int) -> Floats:
        """Raises RuntimeError: the leader alone ranks."""
        raise RuntimeError("the rows are with the process that leads")


def embed_test_images(
    method: Method,
    experiment: Experiment,
    resources: Resources,
    device: torch.device,
    observer: Observer,
    *,
    reuse: bool = True,
) -> tuple[Embeddings | StreamedEmbeddings, int]:
    """Embeddings of queries and gallery, and how many images were embedded now (the others came from the cache).

    A gallery of more than ``HELD_BYTES`` is read in blocks, unless what follows needs it as a whole.
    """
    split = experiment.split
    asked, photos = len(split.queries), len(split.gallery)
    query, new_queries = embed_items(
        method,
        experiment,
        split.queries,
        resources,
        device,
        lambda done: observer.progress(done, asked + photos, {}),
        reuse=reuse,
    )
    gallery, new_photos = embed_gallery(
        method,
        experiment,
        split.gallery,
        resources,
        device,
        lambda done: observer.progress(asked + done, asked + photos, {}),
        width=query.shape[1],
        reuse=reuse,
    )
    labels, gallery_labels = split.test_labels(split.queries), split.test_labels(split.gallery)
    if isinstance(gallery, np.ndarray):
        return Embeddings(query, gallery, labels, gallery_labels), new_queries + new_photos
    return StreamedEmbeddings(query, labels, Labelled(gallery, gallery_labels)), new_queries + new_photos


def embed_gallery(
    method: Method,
    experiment: Experiment,
    items: Sequence[Item],
    resources: Resources,
    device: torch.device,
    progress: Callable[[int], None],
    *,
    width: int,
    reuse: bool = True,
) -> tuple[Floats | Rows, int]:
    """As ``embed_items`` for photos whose embeddings have ``width`` numbers; rows on the disk where they are too many.

    Raises StorageError when the disk does not take those.
    """
    needed_whole = experiment.post.codes != "none" or experiment.post.rerank != "none"
    if 4 * width * len(items) <= HELD_BYTES or needed_whole:
        return embed_items(method, experiment, items, resources, device, progress, reuse=reuse)
    cache, processes = EmbeddingCache(resources.cache_dir), resources.processes
    key = key_of(method, experiment, items)
    kept = cache.read_shards(key) if reuse and processes.leads else None
    found = processes.told(kept is not None)
    if found:
        progress(len(items))
    else:
        with cache.writing_shards(key) if processes.leads else nullcontext() as writer:
            for begin in range(0, len(items), BLOCK_IMAGES):

                def count(done: int, begin: int = begin) -> None:
                    progress(begin + done)

                block = items[begin : begin + BLOCK_IMAGES]
                vectors = _embed_now(method, experiment, block, resources, device, count)
                if writer is not None:  # labels are the split's, not the network's
                    writer.add("gallery", vectors, np.zeros(len(vectors), dtype=np.int64))
        kept = cache.read_shards(key) if processes.leads else None
    return kept if kept is not None else Elsewhere((len(items), width)), 0 if found else len(items)


def _embed_now(
    method: Method,
    experiment: Experiment,
    items: Sequence[Item],
    resources: Resources,
    device: torch.device,
    progress: Callable[[int], None],
) -> Floats:
    """Embeddings of items of one modality: float32 [items, width]. Raises IncompleteError for NaN and infinity."""
    processes = resources.processes
    vectors = embed(
        method,
        Images(experiment.dataset, processes.part(items), experiment.run.image_size, workers=resources.workers),
        is_photo=items[0].modality == "photo",
        device=device,
        precision=experiment.precision,
        progress=lambda done, _: progress(min(len(items), done * processes.size)),
        processes=processes,
    )
    if not np.isfinite(vectors).all():
        raise IncompleteError(
            f"The network gives NaN or infinity after epoch {experiment.run.epochs:g}: lower --lr or --set head_lr=..."
        )
    return vectors


def network_of(method: Method, experiment: Experiment) -> list[object]:
    """Everything about a trained network that embeddings depend on, for keys.

    The backbone's name stands for what its tensors do not hold: paddings, activations, how images are normalised.
    """
    backbone = experiment.run.backbone if method.uses_backbone else ""
    return [experiment.method.name, experiment.method.version, asdict(experiment.own), backbone, network_hash(method)]


def key_of(method: Method, experiment: Experiment, items: Sequence[Item]) -> str:
    """The hash of all that embeddings of items depend on: 64 hex digits."""
    asked = [
        *network_of(method, experiment),
        experiment.run.image_size,
        experiment.precision,
        experiment.identity["configuration"]["dataset"],
        experiment.split.dataset,
        experiment.split.content,
        [item.path for item in items],
        experiment.dataset.stamp(item.path for item in items),
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def embed_items(
    method: Method,
    experiment: Experiment,
    items: Sequence[Item],
    resources: Resources,
    device: torch.device,
    progress: Callable[[int], None],
    *,
    reuse: bool = True,
) -> tuple[Floats, int]:
    """Embeddings of items of one modality, float32 [items, width], and how many of them were computed now.

    ``reuse`` takes those that the same network gave of the same files.
    """
    cache = EmbeddingCache(resources.cache_dir)
    key = key_of(method, experiment, items)
    processes = resources.processes
    read = cache.read(key) if reuse and processes.leads else None
    cached = processes.tensors_told(({"embeddings": torch.from_numpy(read)}, {}) if read is not None else None)
    if cached is not None:
        progress(len(items))
        return cached[0]["embeddings"].numpy(), 0
    vectors = _embed_now(method, experiment, items, resources, device, progress)
    if processes.leads:
        cache.write(key, vectors)
    return vectors, len(items)


def quantiser(method: Method, experiment: Experiment, resources: Resources, device: torch.device) -> itq.Itq | None:
    """What makes binary codes, fitted on the test queries or on the training images as the settings say.

    Fitting wide ones takes longer than embedding: it is kept with the embeddings. Of several processes all embed what
    it is fitted on, and the leader alone fits it.
    """
    post, split = experiment.post, experiment.split
    if post.codes == "itq-test":
        images: Sequence[Sequence[Item]] = (split.queries, split.gallery)
    else:
        images = [[item for item in split.train if item.modality == modality] for modality in ("sketch", "photo")]
    asked = [key_of(method, experiment, items) for items in images]
    key = hashlib.sha256(json.dumps([*asked, experiment.seed, post.bits]).encode()).hexdigest()
    cache, processes = EmbeddingCache(resources.cache_dir), resources.processes
    kept = cache.read_quantiser(key) if processes.leads else None
    if processes.told(kept is not None):
        return kept
    sketches, photos = (
        embed_items(method, experiment, items, resources, device, lambda done: None)[0] for items in images
    )
    if not processes.leads:
        return None
    found = itq.fit(sketches, photos, np.random.default_rng(experiment.seed), bits=post.bits or None)
    cache.write_quantiser(key, found)
    return found
