"""Migrations of older databases: one step for each schema version, in order.

A change of ``models.py`` adds a step here, which alters the tables of the version before. A step spells its tables
out, since later versions change the models.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)

from bench.errors import StorageError
from bench.results.details import PER_QUERY, per_query
from bench.results.old_requests import request_of_row

CURRENT = 4
LOCK = 0x5A5B  # PostgreSQL's advisory lock for whoever makes or alters tables

VERSIONS = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))


def _details_and_leases(connection: Connection) -> None:
    """Version 2: the cost and details of a run, and leases."""
    connection.execute(text("ALTER TABLE run ADD COLUMN cost JSON NOT NULL DEFAULT '{}'"))
    tables = MetaData()
    Table("run", tables, Column("id", Integer, primary_key=True))  # for the foreign keys
    Table(
        "detail",
        tables,
        Column("run_id", Integer, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        Column("name", String(40), primary_key=True),
        Column("content", LargeBinary, nullable=False),
    )
    Table(
        "lease",
        tables,
        Column("key", String(64), primary_key=True),
        Column("run_id", Integer, ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
        Column("heartbeat", Double, nullable=False),
        Column("doing", String, nullable=False),
    )
    tables.create_all(connection, tables=[tables.tables["detail"], tables.tables["lease"]])


def _requests(connection: Connection) -> None:
    """Version 3: the request of each run."""
    connection.execute(text("ALTER TABLE run ADD COLUMN request JSON NOT NULL DEFAULT '{}'"))
    names = ("method", "dataset", "split", "seed", "selection", "gallery", "per_class_limit", "ablation")
    facts = ("configuration", "environment", "request")
    columns = [Column("id", Integer), *(Column(name) for name in names), *(Column(name, JSON) for name in facts)]
    run = Table("run", MetaData(), *columns)
    for row in connection.execute(select(run)).mappings().all():
        request = request_of_row(dict(row), partial(_queried_classes, connection, row["id"]))
        connection.execute(update(run).where(run.c.id == row["id"]).values(request=request.to_json()))


def _long_integers(connection: Connection) -> None:
    """Version 4: seeds and limits of 64 bits, which SQLite's integers have anyway."""
    if connection.dialect.name == "postgresql":
        for column in ("seed", "per_class_limit"):
            connection.execute(text(f"ALTER TABLE run ALTER COLUMN {column} TYPE BIGINT"))


def _queried_classes(connection: Connection, run: int) -> list[str]:
    detail = Table("detail", MetaData(), Column("run_id"), Column("name"), Column("content", LargeBinary))
    kept = select(detail.c.content).where(detail.c.run_id == run, detail.c.name == PER_QUERY)
    content = connection.execute(kept).scalar()
    if content is None:
        return []
    queries = per_query(content)
    return [queries.classes[label] for label in np.unique(queries.labels)]


STEPS: dict[int, Callable[[Connection], None]] = {2: _details_and_leases, 3: _requests, 4: _long_integers}


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


def upgrade(connection: Connection, create: Callable[[Connection], None]) -> int | None:
    """Create the tables of a new database, or bring an older one to ``CURRENT``, inside the caller's transaction.

    Returns its version before, None for a new one. Raises StorageError as ``found_version`` does, before any change.
    """
    if connection.dialect.name == "postgresql":  # of several processes one makes the tables
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
    found = found_version(connection)
    if found is None:
        create(connection)
        VERSIONS.create(connection)
        connection.execute(insert(VERSIONS).values(version=CURRENT))
        return None
    for step in range(found + 1, CURRENT + 1):
        STEPS[step](connection)
    if found < CURRENT:
        connection.execute(update(VERSIONS).values(version=CURRENT))
    return found
