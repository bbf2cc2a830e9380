"""The outcome of a run as a file, so that a result outlives a database that cannot be reached.

The file is written before the outcome is stored in the database, and deleted afterwards. ``open_store`` in
``bench/results/merge.py`` enters the files that are left.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import make_url

from bench.errors import StorageError
from bench.io import write_whole
from bench.results.database import database_file
from bench.results.models import RunRecord
from bench.types import Score


def outcome_folder(where: str, cache_dir: Path) -> Path:
    """The folder for outcomes of the store ``where``, below the cache folder."""
    file = database_file(where)
    name = repr(make_url(where)) if file is None else str(file.resolve())  # repr masks the password
    return cache_dir.resolve() / "outcomes" / hashlib.sha256(name.encode()).hexdigest()[:16]


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
