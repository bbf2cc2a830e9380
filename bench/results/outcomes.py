"""A finished run is a file first, so that it survives a lost database.

1. ``store_outcome`` writes the run to a file in the cache folder, enters it into the database and deletes the file.
2. If the database cannot take the run, UnstoredError names the file, which stays.
3. ``open_store`` opens a database for each command that writes, and enters the files that are left.
   ``bench store merge FILE`` enters one by hand.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import make_url

from bench.errors import DatabaseError, StorageError
from bench.io import write_whole
from bench.results.database import database_file, plain
from bench.results.enter import Merged, enter_run
from bench.results.models import RunRecord
from bench.results.store import FINISHED, Store
from bench.types import Score

log = logging.getLogger("bench.results.outcomes")


class UnstoredError(DatabaseError):
    """The finished ``run`` is in a file, because the database is out of reach."""

    def __init__(self, message: str, run: RunRecord) -> None:
        super().__init__(message)
        self.run = run


def store_outcome(store: Store, run: RunRecord, details: Mapping[str, bytes], cache_dir: Path) -> RunRecord:
    """Store a finished run that this process claimed; returns the stored run.

    Raises UnstoredError when it is only in a file, StorageError when it is lost.
    """
    file = None
    try:
        file = write_outcome(outcome_folder(store.where, cache_dir), run, details)
    except StorageError as error:
        log.info("%s", error)  # the database may still take the run
    try:
        store.finish(run, details)
    except StorageError as error:
        if file is None:
            raise StorageError(f"{error} The finished run could not be kept in a file either.") from error
        raise UnstoredError(
            f"{error} The finished run is kept in {file}: the next run that uses the database enters it, or "
            f"'bench store merge {file}' does.",
            run,
        ) from error
    if file is not None:
        with suppress(OSError):  # the next process that opens the database deletes it
            file.unlink(missing_ok=True)
    return store.runs(id=run.id)[0]


def open_store(where: str, cache_dir: Path) -> tuple[Store, Merged]:
    """Open the store at ``where`` for writing, and enter the outcomes that are left in files below ``cache_dir``.

    Several processes may do this at once. A file that cannot be read is left, with a warning.
    """
    store = Store(where)
    try:
        return store, enter_left(store, cache_dir)
    except BaseException:
        store.close()
        raise


def enter_left(store: Store, cache_dir: Path) -> Merged:
    """Enter the outcomes of an open store that are left in files, and delete each file once it is stored."""
    merged = Merged(plain(store.where))
    for path in sorted(outcome_folder(store.where, cache_dir).glob("*.json")):
        try:
            run, details = read_outcome(path)
        except StorageError as error:
            if path.exists():  # otherwise another process has entered it
                log.warning("%s It is not deleted.", error)
            continue
        enter_outcome(store, run, details, merged)
        path.unlink(missing_ok=True)
    return merged


def enter_outcome(store: Store, run: RunRecord, details: Mapping[str, bytes], merged: Merged) -> None:
    """Finish the unfinished run of ``store`` that an outcome belongs to, or else enter it as a run."""
    mine = store.runs(metrics=(), id=run.id, key=run.key, started=run.started)
    if not mine:
        enter_run(store, run, details, merged)
    elif mine[0].status in FINISHED:
        merged.known += 1
    else:
        store.finish(run, details)
        merged.new += 1


def outcome_folder(where: str, cache_dir: Path) -> Path:
    """The folder for outcomes of the store ``where``, below the cache folder."""
    file = database_file(where)
    name = repr(make_url(where)) if file is None else str(file.resolve())  # repr masks the password
    return cache_dir.resolve() / "outcomes" / hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def write_outcome(folder: Path, run: RunRecord, details: Mapping[str, bytes]) -> Path:
    """Write a finished run with its details, whole or not at all; raises StorageError."""
    path = folder / f"{run.key[:16]}-{uuid.uuid4().hex[:12]}.json"
    encoded = {name: base64.b64encode(content).decode() for name, content in details.items()}
    write_whole(path, json.dumps({"run": asdict(run), "details": encoded}).encode())
    return path


def read_outcome(path: Path) -> tuple[RunRecord, dict[str, bytes]]:
    """Read a finished run and its details; raises StorageError for a file that has none."""
    try:
        content = json.loads(path.read_bytes())
        scores = tuple(Score(**each) for each in content["run"].pop("scores"))
        details = {name: base64.b64decode(text) for name, text in content["details"].items()}
        return RunRecord(**content["run"], scores=scores), details
    except OSError as error:
        raise StorageError(f"File {path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"File {path} holds no outcome of a run.") from error


def find_outcome(folder: Path, key: str) -> RunRecord | None:
    """The outcome of a key in a folder, None without one."""
    return next((read_outcome(path)[0] for path in folder.glob(f"{key[:16]}-*.json")), None)
