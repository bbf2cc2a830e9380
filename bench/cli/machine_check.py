"""What works on this machine: each part looked at, nothing changed, no failure raised."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import provenance
from bench.datasets.base import DATASETS
from bench.errors import BenchError
from bench.evaluation.metrics.base import METRICS
from bench.evaluation.protocols.base import PROTOCOLS
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import PACKAGED, PUBLISHED, default_file, how_to_get
from bench.methods.backbone.weights import checked_hash
from bench.methods.base import METHODS
from bench.reports.base import FORMATS, KINDS, PICTURES
from bench.results import migrations
from bench.results.database import database_file, plain
from bench.results.reading import existing
from bench.settings.run_settings import OPTIMISERS, SCHEDULES, RunSettings

LITTLE_SPACE = 2e9  # bytes; a training keeps a checkpoint, the network and embeddings


@dataclass(frozen=True)
class Finding:
    """One part: ``fine`` says whether it can be used, None where that is no question; ``found`` is a sentence of it."""

    part: str
    name: str
    fine: bool | None
    found: str


def examine(where: str, data_root: Path, cache_dir: Path) -> list[Finding]:
    """Findings on devices, weights, data sets, disks, the results database at ``where`` and packages."""
    return [
        *_program(),
        *_devices(),
        *_weights(),
        *_datasets(data_root),
        *_disks({"store": database_file(where) or Path(), "cache": cache_dir, "data": data_root}),
        _store(where),
        *_packages(),
        *_plugins(),
    ]


def _program() -> Iterator[Finding]:
    facts = provenance.collect("cpu")
    yield Finding("program", "bench", None, f"{facts['bench']}, commit {facts['commit']}, Python {facts['python']}")
    yield Finding("program", "machine", None, f"{facts['system']}, {facts['processor']}, {facts['threads']} threads")


def _devices() -> Iterator[Finding]:
    yield Finding("device", "cpu", True, "always there")
    count = torch.cuda.device_count()
    for index in range(count):
        total = torch.cuda.get_device_properties(index).total_memory
        yield Finding("device", f"cuda:{index}", True, f"{torch.cuda.get_device_name(index)}, {total / 1e9:.0f} GB")
    if not count:
        yield Finding("device", "cuda", False, "torch sees none")
    if not torch.backends.mps.is_available():
        yield Finding("device", "mps", False, "torch sees none")
    else:
        yield Finding("device", "mps", True, "Apple's graphics processor")


def _weights() -> Iterator[Finding]:
    try:
        weights_hash = Backbone(PACKAGED).weights_hash
    except BenchError as error:
        yield Finding("weights", PACKAGED, False, str(error))
    else:
        yield Finding("weights", PACKAGED, True, f"ImageNet, sha256 {weights_hash[:16]}; others by --weights FILE")
    default = RunSettings().backbone
    for name in PUBLISHED:
        try:
            path = default_file(name)
            if path is not None:
                yield Finding("weights", name, True, f"ImageNet, sha256 {checked_hash(path)[:16]}, {path}")
            elif name == default:
                said = f"none at hand, so that {PACKAGED} is taken where no --backbone is named: {how_to_get(name)}"
                yield Finding("weights", name, False, said)
        except BenchError as error:
            yield Finding("weights", name, False, str(error))


def _datasets(data_root: Path) -> Iterator[Finding]:
    for name, kind in DATASETS.items():
        try:
            where = kind(data_root).whereabouts()
        except BenchError as error:
            yield Finding("data set", name, False, str(error))
            continue
        if where.layout:
            yield Finding("data set", name, True, f"{where.root or 'at hand'}, layout {where.layout}")
        else:
            yield Finding("data set", name, False, f"not found; 'bench data path {name}' says where it is looked for")


def _disks(folders: dict[str, Path]) -> Iterator[Finding]:
    for name, folder in folders.items():
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
        free = shutil.disk_usage(there).free
        yield Finding("disk", name, free >= LITTLE_SPACE, f"{free / 1e9:.1f} GB free in {there}")


def _store(where: str) -> Finding:
    name = plain(where)
    try:
        store = existing(where)
        if store is None:
            return Finding("store", name, None, "none yet: the first run makes it")
        runs = store.runs()
        store.close()
    except BenchError as error:
        return Finding("store", name, False, str(error))
    counts = {status: sum(run.status == status for run in runs) for status in dict.fromkeys(run.status for run in runs)}
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no runs"
    return Finding("store", name, True, f"schema version {migrations.CURRENT}; {told}")


def _packages() -> Iterator[Finding]:
    for name in provenance.PACKAGES:
        yield Finding("package", name, True, importlib.metadata.version(name))
    try:
        yield Finding("package", "psycopg", True, f"{importlib.metadata.version('psycopg')}: results in PostgreSQL")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("package", "psycopg", None, "absent; the extra 'postgresql' keeps results in PostgreSQL")


def _plugins() -> Iterator[Finding]:
    for registry in (METHODS, OPTIMISERS, SCHEDULES, DATASETS, PROTOCOLS, METRICS, KINDS, PICTURES, FORMATS):
        for plugin in registry.plugins():
            fine = not plugin.trouble
            yield Finding("plug-in", f"{plugin.kind} {plugin.name}", fine, plugin.trouble or f"of {plugin.source}")
