"""Carry out one experiment: train, embed, rank, score."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from bench import provenance
from bench.datasets.images.loader import Images
from bench.devices import choose_device, to_pixels
from bench.embeddings.arrays import Embeddings, all_equal
from bench.embeddings.binary_codes import Itq
from bench.errors import IncompleteError, StorageError
from bench.evaluation.metrics.base import stored_metrics
from bench.evaluation.ranking import compile_kernels, rank
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.reranking import Icfrr
from bench.experiments.choose_epoch import selector_of
from bench.experiments.cost import cost_of, forget_peak
from bench.experiments.embed_split import Embedder
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.progress import Observer, PrunedError
from bench.methods.backbone.backbone import Backbone
from bench.methods.base import Context, Method, TrainingPhotos
from bench.results import details
from bench.results.models import RunRecord
from bench.results.store import now
from bench.training.embed import BATCH
from bench.training.loop import TrainingData, train
from bench.training.margins import find_collapsed, warnings_of
from bench.training.trained_networks import Networks, load_method, network_hash
from bench.types import AVERAGES

log = logging.getLogger("bench.experiments.execute")

LOADING = "loading the network"
TOLERANCE = 1e-6  # between embeddings that count as equal


def execute(
    experiment: Experiment, run: RunRecord, resources: Resources, observer: Observer, *, reuse: bool = True
) -> tuple[RunRecord, dict[str, bytes]]:
    """Train (if the method trains), embed, rank and score: the finished record of ``run``, and its details.

    ``reuse`` allows the cached network and embeddings.
    """
    execution = Execution(experiment, resources, observer, reuse=reuse)
    execution.train()
    return execution.score(run, *execution.embed())


class Execution:
    """The parts of ``execute``. All ranks call ``train`` and ``embed``; rank 0 alone calls ``score``."""

    def __init__(self, experiment: Experiment, resources: Resources, observer: Observer, *, reuse: bool = True) -> None:
        self.experiment, self.resources, self.observer, self.reuse = experiment, resources, observer, reuse
        self.device = choose_device(resources.device)
        self.history: list[dict[str, float]] = []
        self.epoch: int | None = None  # that the selection rule chose
        self.trained_by = ""  # commit of the code that trained the network, if it differs from this code
        self._compiling = threading.Thread(target=compile_kernels, daemon=True)
        self.seconds: dict[str, float] = {}  # of each part
        self.embedded = 0  # images of the split that were not read from the cache
        forget_peak(self.device)
        with self._part(LOADING):
            self.method = build(experiment, resources, self.device)

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Report to the observer that a part begins, and add its duration to ``seconds``."""
        self.observer.phase(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 2)

    def train(self) -> None:
        """Train the method in place, or load its network if the same training was done before."""
        experiment, resources, method = self.experiment, self.resources, self.method
        processes = resources.processes
        if not method.weights or experiment.trained is not None:
            return
        networks, key = Networks(resources.cache_dir), experiment.training_key
        if self.reuse and (saved := networks.load(key, method, processes)) is not None:
            self.seconds |= saved["seconds"]
            self.history, commit = list(saved["history"]), str(saved.get("commit", ""))
            self.epoch = saved.get("epoch")
            self.trained_by = commit if commit != provenance.commit() else ""
            return
        with self._part("reading training images"):
            data = self.training_data()
            data.images.warm(lambda done, total: self.observer.progress(done, total, {}))
        with self._part("preparing"), seeded(experiment.seed):
            method.prepare(self.training_photos(data))
        checkpoint = networks.checkpoint(key)
        if not (resources.resume and self.reuse) and processes.leads:
            checkpoint.remove()
        self._compiling.start()  # training is long enough to compile beside it
        selector = selector_of(experiment, resources, self.device)
        try:
            with self._part("training"):
                state = train(
                    method,
                    data,
                    experiment.run,
                    seed=experiment.seed,
                    device=self.device,
                    precision=experiment.precision,
                    on_step=self.observer.progress,
                    on_values=self.observer.measure,
                    checkpoint=checkpoint,
                    selector=selector,
                    processes=processes,
                    compiled=resources.compile,
                )
        except PrunedError:  # nobody resumes it
            checkpoint.remove()
            raise
        self.history, self.epoch = state.points, selector.chosen if selector else None
        for warning in warnings_of(method, self.history):
            log.warning("%s: %s", experiment.title, warning)
        self.seconds["training"] = round(self.seconds["training"] + state.earlier, 2)
        facts = {
            "seconds": {name: value for name, value in self.seconds.items() if name != LOADING},
            "history": state.points,
            "commit": provenance.commit(),
            "trained": experiment.described,
            "limit": experiment.per_class_limit,
            "epoch": self.epoch,
        }
        try:
            if processes.leads:
                networks.save(key, method, facts)
                checkpoint.remove()
        except StorageError as error:  # the scores are worth more than the file
            log.warning("The trained network is not cached; its scores are stored: %s", error)

    def embed(self) -> tuple[Embeddings, Itq | None]:
        """The embeddings of the split, and the fitted binary codes."""
        self.method.eval()
        if self._compiling.ident is None:  # nothing was trained
            self._compiling.start()
        embedder = Embedder(self.method, self.experiment, self.resources, self.device)
        with self._part("embedding"):
            embeddings = embedder.embed_split(self.observer, reuse=self.reuse)
        self.embedded = embedder.embedded
        if self.experiment.post.codes == "none":
            return embeddings, None
        with self._part("fitting codes"):  # may embed the training images, too
            return embeddings, embedder.fit_codes()

    def score(self, run: RunRecord, embeddings: Embeddings, codes: Itq | None) -> tuple[RunRecord, dict[str, bytes]]:
        """Rank and score what ``embed`` returned: the finished record of ``run``, and its details.

        ``environment`` gets hashes of the initial weights and of the ranked network. If other code trained the network,
        it also gets the commit of that code.
        """
        experiment, method, split = self.experiment, self.method, self.experiment.split
        with self._part("scoring"):
            self._compiling.join()
            ranking = self._rank(embeddings, codes)
        environment = weights_of(method, initial=experiment.trained is None)
        if self.trained_by:
            environment["trained by"] = self.trained_by
        if collapsed := find_collapsed(method, self.history):
            environment["at margin"] = ", ".join(collapsed)
        if self.epoch is not None:
            environment["epoch"] = str(self.epoch)
        metrics = stored_metrics(split.relevance)
        scores = [ranking.score(metric, average) for metric in metrics for average in AVERAGES]
        over_queries = {each.metric: each.value for each in scores if each.average == "queries"}
        self.observer.finish({metric: value for metric, value in over_queries.items() if not math.isnan(value)})
        done = replace(
            run,
            status="done",
            ended=now(),
            environment={**run.environment, **environment},
            scores=tuple(scores),
            seconds=self.seconds,
            cost=cost_of(method, experiment.test_size, self.seconds, self.embedded, self.device),
        )
        labels = split.cluster_labels(split.gallery)
        return done, details.pack(ranking, labels, split.clusters, self.history, split.relevance)

    def _rank(self, embeddings: Embeddings, codes: Itq | None) -> Ranking:
        """Rank after post-processing; raises IncompleteError when all photos have one embedding."""
        post, rescore, device = self.experiment.post, None, "cpu"
        if all_equal(embeddings.gallery, TOLERANCE):
            if not self.method.weights or self.experiment.trained is not None:
                raise IncompleteError(
                    "All photos have the same embedding, and nothing was trained: check the images, or use another "
                    "--backbone, --weights or --checkpoint."
                )
            raise IncompleteError(
                f"The embeddings have collapsed: all photos have the same one after epoch "
                f"{self.experiment.run.epochs:g} of {' + '.join(self.method.weights)}; lower --lr or --set head_lr=..."
            )
        if embeddings.in_memory:  # codes and re-ranking never use embeddings on disk
            device = str(self.device)
            embeddings = codes.encode(embeddings) if codes is not None else embeddings
            rescore = Icfrr(embeddings, post) if post.rerank == "icfrr" else None
        return rank(
            embeddings,
            details.ranked_metrics(self.experiment.split.relevance),
            distance=post.distance,
            top=self.resources.save_topk,
            rescore=rescore,
            device=device,
            progress=lambda done, total: self.observer.progress(done, total, {}),
        )

    def training_data(self) -> TrainingData:
        """The training images, not yet decoded, with their labels."""
        experiment, split = self.experiment, self.experiment.split
        images = Images(experiment.dataset, split.train, experiment.run.image_size, workers=self.resources.workers)
        return TrainingData.of(split, images)

    def training_photos(self, data: TrainingData) -> TrainingPhotos:
        """The training photos for ``Method.prepare``, decoded when they are needed."""
        experiment, processes = self.experiment, self.resources.processes
        positions = data.is_photo.nonzero()[:, 0].tolist()
        part = list(processes.part(positions))
        batches = [part[start : start + BATCH] for start in range(0, len(part), BATCH)]

        def apply(function: Callable[[Tensor], Tensor]) -> Tensor:
            rows: list[Tensor] = []
            for number, pixels in enumerate(data.images.stream(batches), start=1):
                rows.append(function(to_pixels(pixels, self.device)).float().cpu())
                done = min(len(positions), number * BATCH * processes.size)
                self.observer.progress(done, len(positions), {})
            return processes.all_gather_rows(torch.cat(rows) if rows else torch.empty(0, 0))

        paths = tuple(experiment.split.train[position].path for position in positions)
        identity = (experiment.split.fingerprint, str(experiment.run.image_size), experiment.dataset.stamp(paths))
        labels = data.labels[positions]
        return TrainingPhotos(apply, labels, paths, " ".join(identity).strip(), processes.broadcast_tensor)


def build(experiment: Experiment, resources: Resources, device: torch.device) -> Method:
    """The method with freshly drawn new layers (a function of the seed), on its device."""
    with seeded(experiment.seed):
        if experiment.trained is not None:
            method = load_method(experiment.trained, resources.cache_dir)
        else:
            context = Context(experiment.run, experiment.split.seen, resources.cache_dir)
            method = experiment.method(experiment.own, context)
    return method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block torch draws by ``seed``; after it, as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def weights_of(method: Method, *, initial: bool = True) -> dict[str, str]:
    """Hashes (16 hex digits) of the network as it is now, and of its ``initial`` weights."""
    network = {"network": network_hash(method)[:16]} if method.state_dict() else {}
    built = [module.weights_hash[:16] for module in method.modules() if isinstance(module, Backbone)]
    return {"weights": " ".join(dict.fromkeys(built)), **network} if initial and built else network
