"""Arguments of the API, arrays of any library, as the arrays that the engine takes."""

from __future__ import annotations

import sys
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
    sides = [_plain(name, as_array(name, value)) for name, value in zip(names, (query, gallery), strict=True)]
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


def _plain(name: str, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Strings of an object array, as pandas has them, as an array of text."""
    if labels.dtype.kind not in "OT":
        return labels
    if any(not isinstance(each, str) for each in labels.flat):
        raise UsageError(f"Argument {name!r} holds other objects than strings: labels are integers or strings.")
    return labels.astype(np.str_)
