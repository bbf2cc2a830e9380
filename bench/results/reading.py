"""A results database for reading only."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.errors import IncompleteError, StorageError
from bench.results import migrations
from bench.results.backup import backup
from bench.results.database import database_file, plain
from bench.results.store import Store


def existing(where: str) -> Store | None:
    """The results database at ``where`` for reading only; None without one. No file is made or changed.

    A file of an older schema version is read from a migrated copy. Raises StorageError for such a database of a server,
    and as ``Store`` does.
    """
    file = database_file(where)
    if file is not None and not file.exists():
        return None
    store = Store(where, changes=False)
    if store.was == migrations.CURRENT:
        return store
    store.close()
    if store.was is None:
        return None
    if file is None:
        raise StorageError(
            f"The results database {plain(where)} has schema version {store.was}, this program needs "
            f"{migrations.CURRENT}: run 'bench store migrate'."
        )
    folder = tempfile.TemporaryDirectory(prefix="bench-older-")
    copy = Path(folder.name) / "copy.db"
    backup(where, copy)
    store = Store(str(copy))
    store.where = where
    store.closing.callback(folder.cleanup)
    return store


def open_existing(where: str) -> Store:
    """As ``existing``; raises IncompleteError without a database."""
    store = existing(where)
    if store is None:
        raise IncompleteError(f"There is no results database {plain(where)}: run something, or name one by --store.")
    return store
