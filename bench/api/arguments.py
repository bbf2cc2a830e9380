"""Arguments of the API as the engine takes them: arrays of any library, whole numbers, places of data.

The default of a place is the environment variable ``BENCH_*``, then the default of the commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import as_labels
from bench.errors import UsageError
from bench.io import default_cache_folder
from bench.types import Labels

if TYPE_CHECKING:
    from torch import Tensor

    Array: TypeAlias = npt.ArrayLike | Tensor


def as_array(name: str, value: object) -> npt.NDArray[Any]:
    """An array, torch tensor or list as a numpy array; tensors of floats become float32.

    Raises UsageError that names the argument.
    """
    if value is None:
        raise UsageError(f"Argument {name!r} is missing.")
    if np.ma.is_masked(value):
        raise UsageError(f"Argument {name!r} has masked elements: leave their rows out, or fill them.")
    try:
        if is_tensor(value):
            tensor: Any = value
            tensor = tensor.detach()
            return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy())
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"Argument {name!r} cannot be read as an array ({reason}).") from error


def common_device(**arguments: object) -> str:
    """The device of the arguments that are tensors, otherwise ``cpu``; raises UsageError if there are two."""
    devices = {name: str(value.device) for name, value in arguments.items() if is_tensor(value)}  # type: ignore[attr-defined]
    if len(set(devices.values())) > 1:
        where = " and ".join(f"{name!r} is on {device}" for name, device in devices.items())
        raise UsageError(f"Tensors are on two devices: {where}. Move them to one.")
    return next(iter(devices.values()), "cpu")


def number_labels(**given: object) -> tuple[dict[str, Labels], tuple[str, ...]]:
    """Labels of each argument as int64, by its name, and the names that they number: none for integers.

    Raises UsageError or DataError that names the argument.
    """
    arrays = {name: _plain_labels(name, value) for name, value in given.items()}
    for name, labels in arrays.items():
        if labels.ndim != 1:
            raise UsageError(f"Argument {name!r} must have one dimension, not shape {labels.shape}.")
        if labels.dtype.kind not in "iuUS":
            raise UsageError(f"Argument {name!r} holds {labels.dtype}: labels are integers or strings.")
    texts = {name: labels.dtype.kind == "U" for name, labels in arrays.items()}
    if len(set(texts.values())) > 1:
        kinds = {name: "strings" if text else f"numbers ({arrays[name].dtype})" for name, text in texts.items()}
        held = ", ".join(f"{name!r} holds {kind}" for name, kind in kinds.items())
        raise UsageError(f"Argument {held}: use one kind.")
    if not any(texts.values()):
        return {name: as_labels(name, labels) for name, labels in arrays.items()}, ()
    known, numbers = np.unique(np.concatenate([*arrays.values()]), return_inverse=True)
    ends = np.cumsum([len(labels) for labels in arrays.values()])[:-1]
    sides = np.split(numbers.astype(np.int64, copy=False), ends)
    return dict(zip(arrays, sides, strict=True)), tuple(known.tolist())


def check_whole(name: str, value: object, least: int) -> None:
    """Raise UsageError unless an argument is a whole number from ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) < 2**63:
        raise UsageError(f"Argument {name!r} must be a whole number from {least}, not {value!r}.")


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a torch tensor; torch is not imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _plain_labels(name: str, value: object) -> npt.NDArray[Any]:
    """Labels as an array, strings of any kind as text; raises UsageError for strings among other objects."""
    labels = as_array(name, value)
    # numpy makes text of a list that mixes kinds, so that 1 and "1", and NaN and "nan", would be one class.
    mixes = labels.dtype.kind == "U" and labels.ndim == 1 and isinstance(value, list | tuple)
    if labels.dtype.kind not in "OT" and not mixes:
        return labels
    objects: Iterable[object] = value if mixes else labels.flat  # type: ignore[assignment]
    if any(not isinstance(each, str) for each in objects):
        raise UsageError(f"Argument {name!r} holds other objects than strings: labels are integers or strings.")
    return np.asarray(labels.tolist(), dtype=np.str_)


def store_url(store: str | Path | None) -> str:
    """The results database."""
    return str(store or os.environ.get("BENCH_STORE") or "./bench.db")


def data_folder(data_root: str | Path | None) -> Path:
    """The folder of the datasets."""
    return Path(data_root or os.environ.get("BENCH_DATA_ROOT") or "./data")


def cache_folder(cache_dir: str | Path | None) -> Path:
    """The cache folder."""
    chosen = cache_dir or os.environ.get("BENCH_CACHE_DIR")
    return Path(chosen) if chosen else default_cache_folder()
