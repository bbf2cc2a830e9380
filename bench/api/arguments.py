"""Arguments of the API, arrays of any library, as the arrays that the engine takes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import as_labels
from bench.errors import UsageError
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


def as_pair_of_labels(what: str, query: object, gallery: object) -> tuple[Labels, Labels, tuple[str, ...]]:
    """Labels of both sides as int64, and the names that they number: empty for labels that are integers.

    ``what`` is ``labels``, ``groups`` or ``clusters``. Raises UsageError or DataError that names the argument.
    """
    names = f"query_{what}", f"gallery_{what}"
    sides = [plain_labels(name, value) for name, value in zip(names, (query, gallery), strict=True)]
    texts = [side.dtype.kind == "U" for side in sides]
    if texts[0] != texts[1]:
        held = ["strings" if text else f"numbers ({side.dtype})" for text, side in zip(texts, sides, strict=True)]
        raise UsageError(f"Argument {names[0]!r} holds {held[0]}, {names[1]!r} holds {held[1]}: use one kind.")
    if not texts[0]:
        return *(as_labels(name, side) for name, side in zip(names, sides, strict=True)), ()  # type: ignore[return-value]
    for name, side in zip(names, sides, strict=True):
        if side.ndim != 1:
            raise UsageError(f"Argument {name!r} must have one dimension, not shape {side.shape}.")
    known, numbers = np.unique(np.concatenate(sides), return_inverse=True)
    numbers = numbers.astype(np.int64, copy=False)
    return numbers[: len(sides[0])], numbers[len(sides[0]) :], tuple(known.tolist())


def check_whole(name: str, value: object, least: int) -> None:
    """Raise UsageError unless an argument is a whole number from ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) < 2**63:
        raise UsageError(f"Argument {name!r} must be a whole number from {least}, not {value!r}.")


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a torch tensor; torch is not imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def plain_labels(name: str, value: object) -> npt.NDArray[Any]:
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
