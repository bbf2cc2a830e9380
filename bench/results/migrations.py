"""Migrations of older databases: one step for each schema version, in order.

A change of ``models.py`` adds a step here, which alters the tables of the version before; new tables are made from the
models. A step spells its columns out, since later versions change them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import JSON, Column, Connection, Integer, Table, bindparam, func, insert, inspect, select, text, update

from bench.datasets.base import DATASETS
from bench.datasets.published.class_splits import quote_class
from bench.errors import StorageError
from bench.results.details import PER_QUERY, per_query
from bench.results.models import Base
from bench.settings.post_processing import PostProcessing
from bench.settings.request import HASH, Request, in_text
from bench.settings.run_settings import RunSettings, recipe_for, with_recipe

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
        own_folder = "name" in row["configuration"].get("dataset", {})
        request = request_of_row(dict(row), _queried_classes(connection, row["id"]) if own_folder else ())
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


def request_of_row(row: Mapping[str, Any], queried_classes: Sequence[str]) -> Request:
    """The request of a run of version 1 or 2, made from its columns, its command line and the classes of its queries.

    Defaults of a method would need torch; its own settings count if the command line or an ablation changed them.
    """
    configuration = row["configuration"]
    run, own, post = (configuration.get(name, {}) for name in ("run", "method", "post"))
    dataset = dict(configuration.get("dataset", {}))
    name, split = str(row["dataset"]), str(row["split"])
    if "name" in dataset:  # a user's folder has a name that is not in the registry
        name = "folder"
        if drawn := re.match(r"draw(\d+)-seed(\d+)-", split):
            dataset |= {"draw": int(drawn[1]), "seed": int(drawn[2])}
        else:
            dataset["unseen"] = "all" if split.startswith("all-") else ",".join(map(quote_class, queried_classes))
    checkpoint = configuration.get("checkpoint")
    parts = str(row["ablation"]).split(" and ") if row["ablation"] else []
    without = [part.removeprefix("without ") for part in parts if part.startswith("without ")]
    others = [part for part in parts if not part.startswith("without ")]
    structural = "" if "ablated" in configuration else " and ".join(others)  # else its settings are stored
    called = re.findall(r"--set[= ]'?([\w-]+)=", str(row["environment"].get("command", "")))
    named = {*(name.replace("-", "_") for name in called), *configuration.get("ablated", ())}
    usual = _defaults(name, run.get("backbone"))

    def unusual(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if usual.get(key, value) != value}

    changed = unusual(dataset) | unusual(run)
    changed |= {key: own[key] for key in own if key in named and key.removeprefix("weight_") not in without}
    changed |= unusual(post)
    if checkpoint is not None:
        without, structural, changed = [], "", unusual(dataset) | unusual(post)
    return Request(
        method=row["method"],
        dataset=name,
        split=split,
        seed=row["seed"],
        without=tuple(without),
        structural=structural,
        assignments=tuple(f"{key}={in_text(value)}" for key, value in changed.items()),
        selection=row["selection"],
        gallery=row["gallery"],
        per_class_limit=row["per_class_limit"],
        on_bad_image="drop" if configuration.get("dropped") else "error",
        precision=configuration.get("precision") or "fp32",
        checkpoint=HASH + checkpoint["network"] if checkpoint is not None else "",
    )


def _defaults(dataset: str, backbone: str | None) -> Mapping[str, Any]:
    """Default settings of run, dataset and post-processing; for a dataset of a plug-in the last alone."""
    kind, post = DATASETS.peek(dataset), asdict(PostProcessing())
    if kind is None:
        return post
    return asdict(with_recipe(RunSettings(), recipe_for(kind.recipe, backbone))) | asdict(kind.Settings()) | post


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
