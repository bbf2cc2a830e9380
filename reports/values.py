"""The values of a report for programs: numbers instead of text, snake_case keys. ``docs/json.md`` is their schema."""

from __future__ import annotations

import math
import re
from typing import Any

from bench.reports.base import Cell, Table, plain

SCHEMA = 1  # a changed meaning of a key counts up


def key_of(heading: str) -> str:
    """The key of a column.

    >>> [key_of(each) for each in ("mAP@200:min", "95 % interval", "peak memory, GB")]
    ['map_200_min', 'interval_95', 'peak_memory_gb']
    """
    key = re.sub(r"[^a-z0-9]+", "_", heading.lower()).strip("_")
    return re.sub(r"^(\d+)_(.+)", r"\2_\1", key)


def keys_of(table: Table) -> list[str]:
    """The key of each column, each once: ``_2`` is added to the second of a name."""
    keys: list[str] = []
    for heading in table.columns:
        key, number = key_of(heading), 1
        while key in keys:
            number += 1
            key = f"{key_of(heading)}_{number}"
        keys.append(key)
    return keys


def rows_of(table: Table) -> list[dict[str, Any]]:
    """The values of each row by key, the same keys in all rows; None for ``-``, an empty cell, NaN and no value."""
    rows: list[dict[str, Any]] = [{} for _ in table.rows]
    for key, *cells in zip(keys_of(table), *table.rows, strict=True):
        names = dict.fromkeys(name for cell in cells if isinstance(cell, Cell) for name in cell.values)
        for row, cell in zip(rows, cells, strict=True):
            text = None if cell in ("", "-") else plain(cell)
            values = cell.values if isinstance(cell, Cell) else {"value": text}
            for name in names or ("value",):
                value = values.get(name)
                missing = isinstance(value, float) and math.isnan(value)
                row[key if name == "value" else f"{key}_{name}"] = None if missing else value
    return rows
