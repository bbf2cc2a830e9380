"""Migrations of older databases: one step for each schema version, in order.

A change of ``models.py`` adds a step here, which alters the tables of the version before; a new table needs none. A
step spells its columns out, since later versions change the models.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from sqlalchemy import JSON, Column, Connection, Integer, Table, bindparam, func, insert, inspect, select, text, update

from bench.errors import StorageError
from bench.results.details import PER_QUERY, per_query
from bench.results.models import Base
from bench.results.old_requests import request_of_row

CURRENT = 4
LOCK = 0x5A5B  # PostgreSQL's advisory lock for whoever makes or alters tables

VERSIONS = Table("schema_version", Base.metadata, Column("version", Integer, nullable=False))


def _costs(connection: Connection) -> None:
    """Version 2: the cost of a run; details and leases are new tables."""
    connection.execute(text("ALTER TABLE run ADD COLUMN cost JSON NOT NULL DEFAULT '{}'"))


def _requests(connection: Connection) -> None:
    """Version 3: the request of each run."""
    connection.execute(text("ALTER TABLE run ADD COLUMN request JSON NOT NULL DEFAULT '{}'"))
    runs = text("SELECT * FROM run").columns(configuration=JSON, environment=JSON)
    change = text("UPDATE run SET request = :request WHERE id = :id").bindparams(bindparam("request", type_=JSON))
    for row in connection.execute(runs).mappings().all():
        request = request_of_row(dict(row), partial(_queried_classes, connection, row["id"]))
        connection.execute(change, {"request": request.to_json(), "id": row["id"]})


def _long_integers(connection: Connection) -> None:
    """Version 4: seeds and limits of 64 bits, which SQLite's integers have anyway."""
    if connection.dialect.name == "postgresql":
        for column in ("seed", "per_class_limit"):
            connection.execute(text(f"ALTER TABLE run ALTER COLUMN {column} TYPE BIGINT"))


def _queried_classes(connection: Connection, run: int) -> list[str]:
    kept = text("SELECT content FROM detail WHERE run_id = :run AND name = :name")
    content = connection.scalar(kept, {"run": run, "name": PER_QUERY})
    if content is None:
        return []
    queries = per_query(content)
    return [queries.classes[label] for label in np.unique(queries.labels)]


STEPS: dict[int, Callable[[Connection], None]] = {2: _costs, 3: _requests, 4: _long_integers}


def found_version(connection: Connection) -> int | None:
    """Schema version of an open database, None without tables.

    Raises StorageError for the database of a newer bench or of another program.
    """
    tables = set(inspect(connection).get_table_names())
    if "schema_version" not in tables:
        if tables:
            raise StorageError(
                f"The database is of another program (tables {', '.join(sorted(tables)[:3])}): give another path "
                "by --store."
            )
        return None
    found = int(connection.execute(select(VERSIONS.c.version)).scalar_one())
    if found > CURRENT:
        raise StorageError(
            f"The database has schema version {found}, this program knows up to {CURRENT}: update bench to use it."
        )
    return found


def upgrade(connection: Connection) -> int | None:
    """Create the tables that are missing, and alter those of an older version, inside the caller's transaction.

    Returns the version before, None for a new database. Raises StorageError as ``found_version`` does, before any
    change.
    """
    if connection.dialect.name == "postgresql":  # of several processes one makes the tables
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
    found = found_version(connection)
    Base.metadata.create_all(connection)
    if found is None:
        connection.execute(insert(VERSIONS).values(version=CURRENT))
        return None
    for step in range(found + 1, CURRENT + 1):
        STEPS[step](connection)
    if found < CURRENT:
        connection.execute(update(VERSIONS).values(version=CURRENT))
    return found
