"""The embeddings that a run needs, from the cache where the same network gave them of the same files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch

from bench import itq
from bench.embedding import embed
from bench.embedding_cache import EmbeddingCache
from bench.errors import IncompleteError
from bench.experiment import Experiment, Resources
from bench.networks import network_hash
from bench.observing import Observer
from bench.types import Embeddings, Floats, Item
from datasets.images import Images
from methods.base import Method


def embed_test_images(
    method: Method,
    experiment: Experiment,
    resources: Resources,
    device: torch.device,
    observer: Observer,
    *,
    reuse: bool = True,
) -> tuple[Embeddings, int]:
    """Embeddings of queries and gallery, and how many images were embedded now (the others came from the cache)."""
    split = experiment.split
    total = len(split.queries) + len(split.gallery)
    before = 0
    found = []
    for items in (split.queries, split.gallery):

        def progress(done: int, before: int = before) -> None:
            observer.progress(before + done, total, {})

        found.append(embed_items(method, experiment, items, resources, device, progress, reuse=reuse))
        before += len(items)
    (query, new_queries), (gallery, new_photos) = found
    labels = split.test_labels(split.queries), split.test_labels(split.gallery)
    return Embeddings(query, gallery, *labels), new_queries + new_photos


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
    asked = [
        experiment.method.name,
        experiment.method.version,
        asdict(experiment.own),
        network_hash(method),
        experiment.run.image_size,
        experiment.precision,
        experiment.identity["configuration"]["dataset"],
        experiment.split.dataset,
        experiment.split.content,
        [item.path for item in items],
        experiment.dataset.stamp(item.path for item in items),
    ]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    processes = resources.processes
    read = cache.read(key) if reuse and processes.leads else None
    cached = processes.tensors_told(({"embeddings": torch.from_numpy(read)}, {}) if read is not None else None)
    if cached is not None:
        progress(len(items))
        return cached[0]["embeddings"].numpy(), 0
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
    if processes.leads:
        cache.write(key, vectors)
    return vectors, len(items)


def quantiser(method: Method, experiment: Experiment, resources: Resources, device: torch.device) -> itq.Itq | None:
    """What makes binary codes, fitted on the test queries or on the training images as the settings say.

    Of several processes all embed what it is fitted on, and the leader alone fits it.
    """
    post, split = experiment.post, experiment.split
    if post.codes == "itq-test":
        images: Sequence[Sequence[Item]] = (split.queries, split.gallery)
    else:
        images = [[item for item in split.train if item.modality == modality] for modality in ("sketch", "photo")]
    sketches, photos = (
        embed_items(method, experiment, items, resources, device, lambda done: None)[0] for items in images
    )
    if not resources.processes.leads:
        return None
    return itq.fit(sketches, photos, np.random.default_rng(experiment.seed), bits=post.bits or None)
