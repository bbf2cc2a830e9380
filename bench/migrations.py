"""Bringing an old database up to date: one step a schema version, in order.

Version 1 is made from the models of ``bench/store.py``; a later change of the models adds a step here that alters
the tables of the version before it.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, inspect, text

from bench.errors import StorageError

CURRENT = 2


def _details_and_leases(connection: Connection) -> None:
    """Version 2: what a run cost, what belongs to it, and who computes a key."""
    connection.execute(text("ALTER TABLE run ADD COLUMN cost JSON NOT NULL DEFAULT '{}'"))
    connection.execute(
        text(
            "CREATE TABLE detail (run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE, "
            "name VARCHAR(40) NOT NULL, content BLOB NOT NULL, PRIMARY KEY (run_id, name))"
        )
    )
    connection.execute(
        text(
            "CREATE TABLE lease (key VARCHAR(64) NOT NULL PRIMARY KEY, "
            "run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE, heartbeat FLOAT NOT NULL, "
            "doing VARCHAR NOT NULL)"
        )
    )


STEPS: dict[int, Callable[[Connection], None]] = {2: _details_and_leases}


def upgrade(connection: Connection, create: Callable[[Connection], None]) -> None:
    """Create the tables of a new database, or bring an older one to ``CURRENT``, inside the caller's transaction.

    Raises StorageError for a database that a newer program wrote, or one that holds foreign tables only; neither is
    touched.
    """
    tables = set(inspect(connection).get_table_names())
    if "schema_version" not in tables:
        if tables:
            raise StorageError(
                f"The database holds other tables ({', '.join(sorted(tables)[:3])}) and none of bench's: "
                "give another path by --store."
            )
        create(connection)
        connection.execute(text("CREATE TABLE schema_version (version INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO schema_version (version) VALUES (:version)"), {"version": CURRENT})
        return
    found = version(connection)
    if found > CURRENT:
        raise StorageError(
            f"The database has schema version {found}, this program knows {CURRENT}: update bench to use it."
        )
    for step in range(found + 1, CURRENT + 1):
        STEPS[step](connection)
    if found < CURRENT:
        connection.execute(text("UPDATE schema_version SET version = :version"), {"version": CURRENT})


def is_current(connection: Connection) -> bool:
    """Whether the database needs nothing done to it."""
    return "schema_version" in inspect(connection).get_table_names() and version(connection) == CURRENT


def version(connection: Connection) -> int:
    """Schema version of an open database."""
    return int(connection.execute(text("SELECT version FROM schema_version")).scalar_one())
