"""Read a user's table with a row of numbers for each seen class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from bench.errors import DataError, nearest

NAME = "table"


def read_class_table(path: Path, seen: Sequence[str], columns: int) -> npt.NDArray[np.float32]:
    """The table in a file: float32 [seen classes, columns]; no code in the file is executed.

    A .npy file holds the table, a .safetensors file an array "table"; rows are in the order of ``seen``. A .npz file
    holds "table", and may hold "classes", the class name of each row; rows are then found by name.
    Raises DataError if the file cannot be read, lacks a class, or has another shape or numbers that are not finite.
    """
    arrays = _read(path)
    if NAME not in arrays:
        raise DataError(f"File {path} holds no array called {NAME!r}, only {', '.join(sorted(arrays)) or 'nothing'}.")
    table = arrays[NAME]
    if "classes" in arrays:
        table = _in_order(path, table, [str(each) for each in arrays["classes"].ravel()], seen)
    if table.shape != (len(seen), columns):
        raise DataError(
            f"The table in {path} is {'x'.join(map(str, table.shape))}: give it one row for each of the "
            f"{len(seen)} seen classes, and {columns} columns."
        )
    if not np.issubdtype(table.dtype, np.number) or np.iscomplexobj(table) or not np.isfinite(table).all():
        raise DataError(f"The table in {path} holds something other than finite numbers: correct it.")
    return table.astype(np.float32)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        if path.suffix == ".safetensors":
            return dict(load(path.read_bytes()))
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            found = {NAME: loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib, lzma, numpy and safetensors raise almost anything for damaged data
        raise DataError(
            f"File {path} cannot be read as .npy, .npz or .safetensors without pickled objects ({error})."
        ) from error
    return _checked(path, found)


def _checked(path: Path, members: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    for name, member in members.items():
        if not isinstance(member, np.ndarray):  # numpy returns bytes for other members
            raise DataError(f"Member {name!r} of {path} is no array: write the file with numpy.savez.")
    return members


def _in_order(path: Path, table: npt.NDArray[Any], classes: Sequence[str], seen: Sequence[str]) -> npt.NDArray[Any]:
    row_of = {name: row for row, name in enumerate(classes)}
    if len(table) != len(classes):
        raise DataError(f"File {path} names {len(classes)} classes for {len(table)} rows.")
    missing = next((name for name in seen if name not in row_of), None)
    if missing is not None:
        raise DataError(f"The table in {path} has no row for seen class {missing!r}. {nearest(missing, classes)}")
    return table[[row_of[name] for name in seen]]
