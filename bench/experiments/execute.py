"""One experiment carried out: train, embed, rank, score."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench import provenance
from bench.datasets.images.loader import Images
from bench.devices import choose_device, to_pixels
from bench.distributed.process_group import ALONE, Processes
from bench.embeddings import binary_codes as itq
from bench.embeddings.arrays import Embeddings, Rows, StreamedEmbeddings
from bench.errors import IncompleteError, StorageError
from bench.evaluation.metrics.base import STORED_METRICS
from bench.evaluation.ranking import compile_kernels, rank
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.reranking import Icfrr
from bench.experiments.choose_epoch import selector_of
from bench.experiments.cost import cost_of, forget_peak
from bench.experiments.embed_split import Embedder
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.progress import Clock, Observer
from bench.methods.backbone.backbone import Backbone
from bench.methods.base import Context, Method, TrainingPhotos
from bench.results import details
from bench.training.embed import BATCH
from bench.training.loop import TrainingData, train
from bench.training.state import load_exactly
from bench.training.trained_networks import Networks, network_hash, state_of
from bench.types import Score

log = logging.getLogger("bench.experiments.execute")

SPREAD = 1e-6  # embeddings that differ by no more are one
SPREAD_AT_ONCE = 2**16  # photos looked at together


@dataclass(frozen=True)
class Outcome:
    """What a run gives: its scores, seconds of each part, cost figures, details to store with it, and its provenance.

    ``environment`` names the weights that it began with, the network that was ranked and, where the network was trained
    by other code, that code's commit.
    """

    scores: list[Score]
    seconds: dict[str, float]
    cost: dict[str, float]
    details: dict[str, bytes]
    environment: dict[str, str]


def execute(experiment: Experiment, resources: Resources, observer: Observer, *, reuse: bool = True) -> Outcome:
    """Train (if the method trains), embed, rank and score; ``reuse`` takes a network that was trained as asked."""
    return score(embedded(experiment, resources, observer, reuse=reuse), experiment, resources, observer)


@dataclass(frozen=True)
class Embedded:
    """What a run has when the last image is embedded; up to here several processes can share the work.

    ``now`` is how many images were embedded and not read from the cache, ``quantiser`` what makes binary codes where
    they were asked for, ``compiling`` compiles what ranks.
    """

    method: Method
    device: torch.device
    embeddings: Embeddings | StreamedEmbeddings
    now: int
    quantiser: itq.Itq | None
    history: list[dict[str, float]]
    trained_by: str
    clock: Clock
    compiling: threading.Thread


def embedded(experiment: Experiment, resources: Resources, observer: Observer, *, reuse: bool = True) -> Embedded:
    """Train and embed as ``execute`` does; all processes of a run call it together."""
    device = choose_device(resources.device)
    forget_peak(device)
    clock = Clock()
    with clock.part("loading the network", observer):
        method = build(experiment, resources, device)
    compiling = threading.Thread(target=compile_kernels, daemon=True)
    history, trained_by = trained(
        method, experiment, resources, device, observer, clock, reuse=reuse, meanwhile=compiling.start
    )
    method.eval()
    if compiling.ident is None:  # nothing had to be trained
        compiling.start()
    embedder = Embedder(method, experiment, resources, device)
    with clock.part("embedding", observer):
        embeddings, now = embedder.embed_split(observer, reuse=reuse)
    codes = None
    if experiment.post.codes != "none":  # apart: it may embed the training images, too
        with clock.part("fitting codes", observer):
            codes = embedder.fit_codes()
    return Embedded(method, device, embeddings, now, codes, history, trained_by, clock, compiling)


def score(found: Embedded, experiment: Experiment, resources: Resources, observer: Observer) -> Outcome:
    """Rank and score what was embedded."""
    clock, method = found.clock, found.method
    with clock.part("scoring", observer):
        found.compiling.join()
        ranking = rank_embeddings(found, experiment, resources, observer)
    classes, photos = experiment.split.unseen + experiment.split.seen, found.embeddings.photos
    return Outcome(
        scores=[
            each for metric in STORED_METRICS for each in (ranking.score(metric), ranking.score(metric, "classes"))
        ],
        seconds=clock.seconds,
        cost=cost_of(method, experiment.run.image_size, clock.seconds, found.now, found.device),
        details=details.pack(ranking, photos.labels(0, photos.shape[0]), classes, found.history),
        environment={
            **weights_of(method, begun=experiment.trained is None),
            **({"trained by": found.trained_by} if found.trained_by else {}),
        },
    )


def weights_of(method: Method, *, begun: bool = True) -> dict[str, str]:
    """Hashes (16 hex digits) of the weights that a method was built on (``begun``) and of the network as it is now."""
    if not begun:
        return {"network": network_hash(method)[:16]}
    built = [module.weights_hash for module in method.modules() if isinstance(module, Backbone)]
    found = {"weights": " ".join(each[:16] for each in dict.fromkeys(built))} if built else {}
    return {**found, "network": network_hash(method)[:16]} if state_of(method) else found


def build(experiment: Experiment, resources: Resources, device: torch.device) -> Method:
    """The method with freshly drawn new layers (a function of the seed), on its device."""
    run, seen = experiment.run, experiment.split.seen
    if experiment.trained is not None:  # whose tensors are all in its file
        run, seen = replace(run, weights="none"), experiment.trained.seen
    context = Context(run, seen, resources.cache_dir)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        method = experiment.method(experiment.own, context)
    if experiment.trained is not None:
        load_exactly(method, experiment.trained.tensors, experiment.trained.path)
    return method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def trained(
    method: Method,
    experiment: Experiment,
    resources: Resources,
    device: torch.device,
    observer: Observer,
    clock: Clock,
    *,
    reuse: bool,
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[list[dict[str, float]], str]:
    """Train ``method`` in place, or load what the same training left; the training curves.

    With them comes the commit of the code that trained it, where that is not the code of now. ``meanwhile`` is called
    when the training itself begins, the one part that is long enough to do something else beside it.
    """
    split, run, processes = experiment.split, experiment.run, resources.processes
    if not method.weights or experiment.trained is not None:
        return [], ""
    networks = Networks(resources.cache_dir)
    key = experiment.training_key
    if reuse and (kept := networks.load(key, method, processes)) is not None:
        clock.seconds |= kept["seconds"]
        commit = str(kept.get("commit", ""))
        return list(kept["history"]), commit if commit != provenance.commit() else ""
    before = set(clock.seconds)
    with clock.part("reading training images", observer):
        images = Images(experiment.dataset, split.train, run.image_size, workers=resources.workers)
        images.warm(lambda done, total: observer.progress(done, total, {}))
        data = TrainingData.of(split, images)
    with clock.part("preparing", observer):
        method.prepare(training_photos(experiment, data, device, observer, processes))
    checkpoint = networks.checkpoint(key)
    if not (resources.resume and reuse) and processes.leads:
        checkpoint.remove()
    meanwhile()
    with clock.part("training", observer):
        history = train(
            method,
            data,
            run,
            seed=experiment.seed,
            device=device,
            precision=experiment.precision,
            on_step=observer.progress,
            checkpoint=checkpoint,
            selector=selector_of(experiment, resources, device),
            processes=processes,
            compiled=resources.compiled,
        )
    if not processes.leads:
        return history.points, ""
    clock.seconds["training"] = round(clock.seconds["training"] + history.earlier, 2)
    taken = {name: seconds for name, seconds in clock.seconds.items() if name not in before}
    try:
        limit = experiment.per_class_limit
        networks.save(key, method, taken, history.points, provenance.commit(), experiment.described, limit)
        checkpoint.remove()
    except StorageError as error:  # the scores are worth more than the file
        log.warning("The trained network is not kept, its scores are: %s", error)
    return history.points, ""


def rank_embeddings(found: Embedded, experiment: Experiment, resources: Resources, observer: Observer) -> Ranking:
    """Every default metric of every query after the post-processing that was asked for.

    Raises IncompleteError when the embeddings have collapsed to one point.
    """
    embeddings, method = found.embeddings, found.method
    if _collapsed(embeddings.photos):
        raise IncompleteError(
            f"The embeddings have collapsed: all photos have one and the same after epoch {experiment.run.epochs:g} of "
            f"{' + '.join(method.weights) or 'no training'}; lower --lr or --set head_lr=..."
        )
    post, rescore = experiment.post, None
    if isinstance(embeddings, Embeddings):  # what these need is never left on the disk
        if found.quantiser is not None:
            embeddings = found.quantiser.encode(embeddings)
        if post.rerank == "icfrr":
            rescore = Icfrr(embeddings, post)
    return rank(
        embeddings,
        details.RANKED,
        distance=post.distance,
        top=resources.top,
        rescore=rescore,
        device=str(found.device) if isinstance(embeddings, Embeddings) else "cpu",
        progress=lambda done, total: observer.progress(done, total, {}),
    )


def _collapsed(photos: Rows) -> bool:
    """Whether all photos have one and the same embedding, but for rounding."""
    count = photos.shape[0]
    first = photos.vectors(0, 1)
    for begin in range(0, count, SPREAD_AT_ONCE):
        if np.abs(photos.vectors(begin, min(begin + SPREAD_AT_ONCE, count)) - first).max() > SPREAD:
            return False
    return count > 1


def training_photos(
    experiment: Experiment, data: TrainingData, device: torch.device, observer: Observer, processes: Processes = ALONE
) -> TrainingPhotos:
    """The training photos of an experiment as ``Method.prepare`` takes them; decoded when they are asked for."""
    split = experiment.split
    positions = data.is_photo.nonzero()[:, 0].tolist()
    mine = list(processes.part(positions))
    batches: Sequence[list[int]] = [mine[start : start + BATCH] for start in range(0, len(mine), BATCH)]

    def through(function: Callable[[Tensor], Tensor]) -> Tensor:
        found: list[Tensor] = []
        for number, pixels in enumerate(data.images.stream(batches), start=1):
            found.append(function(to_pixels(pixels, device)).float().cpu())
            observer.progress(min(len(positions), number * BATCH * processes.size), len(positions), {})
        return processes.all_gather_rows(torch.cat(found) if found else torch.empty(0, 0))

    def broadcast(table: Tensor | None) -> Tensor | None:
        sent = processes.broadcast_tensors(({"table": table}, {}) if table is not None else None)
        return sent[0]["table"] if sent is not None else None

    paths = tuple(split.train[position].path for position in positions)
    stamp = experiment.dataset.stamp(paths)
    return TrainingPhotos(
        through=through,
        labels=data.labels[positions],
        paths=paths,
        identity=f"{split.fingerprint} {experiment.run.image_size} {stamp}".strip(),
        broadcast=broadcast,
    )
