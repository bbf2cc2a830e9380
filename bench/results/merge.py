"""``bench store merge``: enter the runs of other databases and of outcome files into one store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.errors import StorageError, UsageError
from bench.results.database import database_file, plain
from bench.results.enter import Merged, enter_run
from bench.results.models import RunRecord
from bench.results.outcomes import enter_outcome, open_store, read_outcome
from bench.results.reading import existing
from bench.results.store import STALE_SECONDS, Store, now

Outcomes = list[tuple[RunRecord, dict[str, bytes]]]


def merge(
    where: str,
    cache_dir: Path,
    sources: Sequence[str],
    progress: Callable[[str, int, int], None] = lambda source, done, total: None,
) -> list[Merged]:
    """Enter all runs of ``sources`` (paths, URLs, outcome files or folders of those) into the store at ``where``.

    Sources are not changed, and merging twice enters nothing new. A run that is being computed there is left out; one
    whose process died is entered as interrupted. The store is opened once all sources are. Raises UsageError for the
    store itself as a source, StorageError when a source cannot be read or the store cannot be written.
    """
    for source in sources:
        files = [database_file(each) for each in (where, source)]
        if where == source or (files[0] and files[1] and files[0].resolve() == files[1].resolve()):
            raise UsageError(f"Database {plain(source)} is the store itself: name the other one, or another --store.")
    with ExitStack() as stack:
        opened = [_open_source(source, stack) for source in sources]
        store, _ = open_store(where, cache_dir)
        stack.callback(store.close)
        return [
            _enter_source(store, plain(source), each, functools.partial(progress, source))
            for source, each in zip(sources, opened, strict=True)
        ]


def _open_source(source: str, stack: ExitStack) -> Store | Outcomes:
    file = database_file(source)
    try:
        if file is not None and (file.is_dir() or file.suffix == ".json"):
            paths = sorted(file.glob("*.json")) if file.is_dir() else [file]
            if not paths:
                raise StorageError(f"{source} is a folder without outcomes of runs; check the path.")
            return [read_outcome(path) for path in paths]
        store = existing(source)
        if store is None:
            raise StorageError(f"there is no results database {plain(source)}; check the path or URL.")
    except StorageError as error:
        raise StorageError(f"Nothing was merged: {str(error).replace(' by --store', '')}") from error
    stack.callback(store.close)
    return store


def _enter_source(store: Store, name: str, source: Store | Outcomes, progress: Callable[[int, int], None]) -> Merged:
    merged = Merged(name)
    if isinstance(source, list):
        for run, details in source:
            enter_outcome(store, run, details, merged)
        return merged
    alive = [run for run, (silent, _) in source.doing().items() if silent < STALE_SECONDS]
    runs = source.runs()
    for done, run in enumerate(runs, start=1):
        progress(done, len(runs))
        if run.status == "queued" or (run.status == "running" and run.id in alive):
            merged.running += 1
            continue
        if run.status == "running":
            run = replace(run, status="interrupted", failure="its process ended", ended=now())
        enter_run(store, run, source.details_of(run.id), merged)
    return merged
