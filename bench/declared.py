"""Whether a thing declares what its kind asks for: the annotations of a class are held against the values.

A stranger's class may import and lack nothing, and still say ``terms = None``. That is found when it is loaded, before
somebody's list is made of it, and told in a few words.
"""

from __future__ import annotations

import dataclasses
import inspect
import reprlib
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, Literal, Union, get_args, get_origin


def misdeclared(kind: type, thing: Any) -> str:
    """What is wrong with the first attribute annotated in ``kind`` whose value does not fit; ``""`` when all do.

    What ``kind`` gives no value of its own must not be empty either.
    """
    for name, hint in inspect.get_annotations(kind, eval_str=True).items():
        value = getattr(thing, name)
        if not fits(value, hint):
            return f"its {name} must be {spelled(hint)}, not {reprlib.repr(value)}"
        if isinstance(value, Collection) and not value and not _has_default(kind, name):
            return f"its {name} is empty"
    return ""


def unsettable(thing: Any) -> str:
    """Why the ``Settings`` of a class will not do; ``""`` when they will, and for a class without any.

    They must be a dataclass that can be made without arguments, with a number ``weight_<term>`` for each of ``terms``
    and a field for whatever ``files`` and ``structural`` name.
    """
    kind = getattr(thing, "Settings", None)
    if kind is None:
        return ""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return "its Settings are no dataclass"
    try:
        own = kind()
    except Exception as error:  # whatever a stranger's class raises
        return f"its Settings cannot be made without arguments: {type(error).__name__}: {error}"
    values = {each.name: getattr(own, each.name) for each in dataclasses.fields(own)}
    for term in getattr(thing, "terms", ()):
        if not fits(values.get(f"weight_{term}"), float):
            return f"its Settings have no number weight_{term}, but {term!r} is one of its terms"
    changed = {name for changes in getattr(thing, "structural", {}).values() for name in changes}
    unknown = sorted({*getattr(thing, "files", ()), *changed} - values.keys())
    return f"its Settings have no {unknown[0]}, which its files or structural name" if unknown else ""


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; what a container holds is looked at, too.

    >>> fits(("a", "b"), tuple[str, ...]), fits("ab", tuple[str, ...]), fits({"a": 1}, Mapping[str, str])
    (True, False, False)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint is None:
        return value is None
    if origin is ClassVar:
        return fits(value, inner[0])
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return any(value == each for each in inner)
    if origin is Callable:
        return callable(value) and (inner[0] is Ellipsis or takes(value, len(inner[0])))
    if hint in (int, float):  # a truth value is neither
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    if not isinstance(value, origin or hint):
        return False
    if origin is tuple and inner[-1] is not Ellipsis and len(value) != len(inner):
        return False
    return all(fits(each, own) for each, own in _parts(value, origin, inner))


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments; one that does not tell is taken to.

    >>> takes(len, 1), takes(lambda a, b: a, 1)
    (True, False)
    """
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # written in C
        return True
    return True


def spelled(hint: Any) -> str:
    """A type as one writes it.

    >>> spelled(ClassVar[Mapping[str, tuple[str, ...]]])
    'Mapping[str, tuple[str, ...]]'
    """
    if get_origin(hint) is ClassVar:
        return spelled(get_args(hint)[0])
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return text.replace("collections.abc.", "").replace("typing.", "")


def _parts(value: Any, origin: Any, inner: tuple[Any, ...]) -> Iterable[tuple[Any, Any]]:
    """What a container holds, each with the type that it is to have."""
    if not inner or not isinstance(value, Collection):
        return ()
    if isinstance(value, Mapping):
        return [pair for key, each in value.items() for pair in ((key, inner[0]), (each, inner[1]))]
    if origin is tuple and inner[-1] is not Ellipsis:
        return zip(value, inner, strict=True)
    return [(each, inner[0]) for each in value]


def _has_default(kind: type, name: str) -> bool:
    if dataclasses.is_dataclass(kind):
        (own,) = (each for each in dataclasses.fields(kind) if each.name == name)
        return own.default is not dataclasses.MISSING or own.default_factory is not dataclasses.MISSING
    return name in vars(kind)
