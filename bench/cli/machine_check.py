"""``bench doctor``: check each part of this machine; change nothing, raise nothing."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bench import provenance
from bench.datasets.base import DATASETS
from bench.errors import BenchError
from bench.evaluation.metrics.base import METRICS
from bench.evaluation.protocols.base import PROTOCOLS
from bench.loggers.base import LOGGERS
from bench.methods.backbone.published_weights import PACKAGED, PACKAGES, PUBLISHED, default_file, how_to_get
from bench.methods.backbone.weights import verified_hash
from bench.methods.base import METHODS
from bench.reports.base import FORMATS, KINDS, PICTURES
from bench.results import migrations
from bench.results.database import database_file, plain
from bench.results.reading import existing
from bench.settings.run_settings import OPTIMISERS, SCHEDULES, RunSettings

LITTLE_SPACE = 2e9  # bytes for a checkpoint, the network and embeddings


COLUMNS = ("part", "name", "usable", "found")
Finding = tuple[str, str, bool | None, str]  # ``COLUMNS``; usable is None where that does not apply


def examine(where: str, data_root: Path, cache_dir: Path) -> list[dict[str, Any]]:
    """Findings on devices, weights, datasets, disks, the results database at ``where`` and packages, as rows."""
    findings = [
        *_machine(),
        *_weights(),
        *_datasets(data_root),
        *_disks({"store": database_file(where) or Path(), "cache": cache_dir, "data": data_root}),
        _store(where),
        *_packages(),
    ]
    return [dict(zip(COLUMNS, each, strict=True)) for each in findings]


def _machine() -> Iterator[Finding]:
    facts = provenance.collect("cpu")
    yield ("program", "bench", None, f"{facts['bench']}, commit {facts['commit']}, Python {facts['python']}")
    yield ("program", "machine", None, f"{facts['system']}, {facts['processor']}, {facts['threads']} threads")
    yield ("device", "cpu", True, "always available")
    count = torch.cuda.device_count()
    for index in range(count):
        total = torch.cuda.get_device_properties(index).total_memory
        yield ("device", f"cuda:{index}", True, f"{torch.cuda.get_device_name(index)}, {total / 1e9:.0f} GB")
    if not count:
        yield ("device", "cuda", False, "torch sees none")
    mps = torch.backends.mps.is_available()
    yield ("device", "mps", mps, "Apple's graphics processor" if mps else "torch sees none")


def _weights() -> Iterator[Finding]:
    for name in dict.fromkeys([PACKAGED, *PACKAGES, *PUBLISHED]):
        try:
            path = default_file(name)
            if path is not None:
                more = "; others by --weights FILE" if name == PACKAGED else f", {path}"
                yield ("weights", name, True, f"ImageNet, sha256 {verified_hash(path)[:16]}{more}")
            elif name == RunSettings().backbone:
                note = f"not on this machine: a run downloads them, or takes {PACKAGED}; else {how_to_get(name)}"
                yield ("weights", name, False, note)
        except BenchError as error:
            yield ("weights", name, False, str(error))


def _datasets(data_root: Path) -> Iterator[Finding]:
    for name, kind in DATASETS.items():
        try:
            where = kind(data_root).whereabouts()
            found = f"{where.root or 'included'}, layout {where.layout}"
            missing = f"not found; 'bench data path {name}' shows where it is searched"
            yield ("dataset", name, bool(where.layout), found if where.layout else missing)
        except BenchError as error:
            yield ("dataset", name, False, str(error))


def _disks(folders: dict[str, Path]) -> Iterator[Finding]:
    for name, folder in folders.items():
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
        free = shutil.disk_usage(there).free
        yield ("disk", name, free >= LITTLE_SPACE, f"{free / 1e9:.1f} GB free in {there}")


def _store(where: str) -> Finding:
    name = plain(where)
    try:
        store = existing(where)
        if store is None:
            return ("store", name, None, "none yet: the first run creates it")
        runs = store.runs()
        store.close()
    except BenchError as error:
        return ("store", name, False, str(error))
    counts = sorted(Counter(run.status for run in runs).items())
    summary = ", ".join(f"{count} {status}" for status, count in counts) or "no runs"
    return ("store", name, True, f"schema version {migrations.CURRENT}; {summary}")


def _packages() -> Iterator[Finding]:
    for name in provenance.PACKAGES:
        yield ("package", name, True, importlib.metadata.version(name))
    try:
        yield ("package", "psycopg", True, f"{importlib.metadata.version('psycopg')}: results in PostgreSQL")
    except importlib.metadata.PackageNotFoundError:
        yield ("package", "psycopg", None, "absent; the extra 'postgresql' keeps results in PostgreSQL")
    for registry in (METHODS, OPTIMISERS, SCHEDULES, DATASETS, PROTOCOLS, METRICS, LOGGERS, KINDS, PICTURES, FORMATS):
        for plugin in registry.plugins():
            note = plugin.trouble or f"of {plugin.source}"
            yield ("plug-in", f"{plugin.kind} {plugin.name}", not plugin.trouble, note)
