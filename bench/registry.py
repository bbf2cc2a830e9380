"""Registries: a file in the right package, or an entry point of another package, adds an object by name.

A registry imports the modules of its package when it is first used. A plug-in is imported when its name is requested,
or when everything is listed. An unusable one is a warning in lists, and an error only if its name is requested.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import pkgutil
import reprlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from bench.errors import LoadingError, UsageError, nearest
from bench.moved_modules import explain_import, moved_to

T = TypeVar("T")

log = logging.getLogger("bench.registry")


@dataclass(frozen=True)
class Plugin:
    """An entry point: its name, its distribution, and why it cannot be used (empty if it can)."""

    kind: str
    name: str
    source: str
    trouble: str


class Registry(Generic[T]):
    """Objects of one kind by name.

    ``kind`` is the word in messages ("method"). The modules of ``package`` register the project's own objects. Other
    distributions add theirs through the entry-point ``group``. Registries that share a group each have a ``prefix``
    (``kind.``) for their entry points. ``wrong`` returns why an object is not of this kind, or ``""``.
    """

    def __init__(
        self, kind: str, package: str, group: str, *, prefix: str = "", wrong: Callable[[Any], str] | None = None
    ) -> None:
        self.kind, self.package, self.group, self.prefix = kind, package, group, prefix
        self._wrong = wrong or (lambda thing: "")
        self._known: dict[str, T] = {}
        self._plugins: dict[str, list[EntryPoint]] = {}  # only the first of each name counts
        self._warned: set[str] = set()
        self._failed: dict[str, LoadingError] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds an object under ``name``; raises ValueError if another object has the name."""

        def add(thing: T) -> T:
            if self._known.setdefault(name, thing) is not thing:
                raise ValueError(f"two {self.kind}s are called {name!r}: {self._known[name]!r} and {thing!r}")
            return thing

        return add

    def names(self) -> list[str]:
        """Every name in alphabetical order. Plug-ins are included but not imported."""
        self._discover()
        return sorted(self._known.keys() | self._plugins.keys())

    def get(self, name: str, *others: str) -> T:
        """The object called ``name``; ``others`` are names of the caller's own, for the error sentence.

        Raises UsageError with the nearest name if there is none, LoadingError if its plug-in cannot be used.
        """
        if not isinstance(name, str):
            raise UsageError(f"A {self.kind} is named by a text, not by {name!r}.")
        if self.peek(name) is None:
            self._discover()
        if name not in self._known and name in self._plugins:
            self._known.setdefault(name, self._load(name))
        if name not in self._known:
            raise UsageError(
                f"There is no {self.kind} {name!r}. {self._module(name) or nearest(name, [*self.names(), *others])}"
            )
        return self._known[name]

    def _module(self, name: str) -> str:
        """For the name of a module that can be imported: how to register what it defines."""
        with suppress(Exception, SystemExit):  # the package of a user may raise anything
            if "." in name and importlib.util.find_spec(name):
                entry = f'[project.entry-points."{self.group}"] {self.prefix}NAME = "{name}:OBJECT"'
                return f"Module {name} exists: add {entry} to the pyproject.toml of its package, install it, use NAME."
        return ""

    def peek(self, name: str) -> T | None:
        """The object called ``name`` if the module of that name defines it; never imports any other module."""
        word = name.replace("-", "_")
        if not self._discovered and word.isidentifier() and importlib.util.find_spec(f"{self.package}.{word}"):
            importlib.import_module(f"{self.package}.{word}")
        return self._known.get(name)

    def items(self) -> list[tuple[str, T]]:
        """Every name with its object, in alphabetical order. Warns once about each plug-in that cannot be used."""
        for trouble in (plugin.trouble for plugin in self.plugins()):
            if trouble and trouble not in self._warned:
                log.warning("%s", trouble)
                self._warned.add(trouble)
        return [(name, self._known[name]) for name in self.names() if name in self._known]

    def plugins(self) -> list[Plugin]:
        """Every entry point of this kind, after trying to import it."""
        self._discover()
        return [
            Plugin(self.kind, name, _source(point), self._trouble(name, point))
            for name, points in sorted(self._plugins.items())
            for point in points
        ]

    def source(self, name: str) -> str:
        """Distribution and version of the plug-in ``name``; empty for the project's own."""
        with suppress(LoadingError):
            if name in self._plugins and self._load(name) is self._known.get(name):
                return _source(self._plugins[name][0])
        return ""

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        home = importlib.import_module(self.package)
        for module in sorted(pkgutil.iter_modules(home.__path__), key=lambda each: each.name):
            if not module.ispkg:  # subpackages have shared code
                importlib.import_module(f"{self.package}.{module.name}")
        for point in sorted(entry_points(group=self.group), key=_source):
            if point.name.startswith(self.prefix):
                self._plugins.setdefault(point.name.removeprefix(self.prefix), []).append(point)

    def _load(self, name: str) -> T:
        """The object of the first entry point of that name; raises LoadingError unless it can be used."""
        if name in self._failed:  # importing a half-imported module again may raise another error
            raise self._failed[name]
        point = self._plugins[name][0]
        cause: BaseException | None = None
        try:
            thing = point.load()
            wrong = self._wrong(thing)
            if not wrong and getattr(thing, "name", name) != name:
                wrong = f"its name is {thing.name!r}"
        except (Exception, SystemExit) as error:  # a plug-in may raise anything
            wrong, cause = explain_import(error) or f"{type(error).__name__}: {error}", error
        if wrong:
            self._failed[name] = LoadingError(
                f"The {self.kind} {name!r} of {_source(point)}, {point.value}, cannot be loaded ({wrong}); "
                "fix or uninstall that package."
            )
            raise self._failed[name] from cause
        return thing  # type: ignore[no-any-return]

    def _trouble(self, name: str, point: EntryPoint) -> str:
        """Why an entry point is not used; empty if it is."""
        try:
            if point is self._plugins[name][0] and self.get(name) is self._load(name):
                return ""
        except LoadingError as error:
            return str(error)
        return (
            f"The {self.kind} {name!r} of {_source(point)} is not used, because another has that name: rename it or "
            "uninstall that package."
        )


def not_derived_from(base: type) -> Callable[[Any], str]:
    """A check for ``wrong``: a concrete subclass of ``base`` with its attributes and usable ``Settings``."""

    def wrong(thing: Any) -> str:
        if not (isinstance(thing, type) and issubclass(thing, base)):
            for old in (each.__module__ for each in getattr(thing, "__mro__", ())):
                if new := moved_to(old):  # a second copy of our module, imported from a checkout
                    return f"{old} is now {new}"
            return f"it is no class derived from {base.__module__}.{base.__name__}"
        required = [name for name in inspect.get_annotations(base) if not hasattr(base, name)]
        missing = [name for name in required if not hasattr(thing, name)]
        missing += [name for name in dir(thing) if getattr(getattr(thing, name), "__isabstractmethod__", False)]
        if missing:
            return f"its class lacks {', '.join(missing)}"
        empty = [f"its {name} is empty" for name in required if getattr(thing, name) in ("", ())]
        return _wrong_type(base, thing) or "".join(empty[:1]) or _wrong_settings(thing)

    return wrong


def not_a(kind: type) -> Callable[[Any], str]:
    """A check for ``wrong``: an instance of the dataclass ``kind``."""

    def wrong(thing: Any) -> str:
        return _wrong_type(kind, thing) if isinstance(thing, kind) else f"it is no {kind.__module__}.{kind.__name__}"

    return wrong


def not_a_function(thing: Any) -> str:
    """A check for ``wrong``: a function."""
    return "" if callable(thing) and not isinstance(thing, type) else "it is no function"


def not_callable(thing: Any) -> str:
    """A check for ``wrong``: a function of two arguments, the source and the options of a report."""
    missing = "" if _takes(thing, 2) else "it does not take two arguments, the source and the options"
    return not_a_function(thing) or missing


def _wrong_type(kind: type, thing: Any) -> str:
    """The first attribute annotated in ``kind`` that has another type; elements of containers are not checked."""
    for name, hint in inspect.get_annotations(kind, eval_str=True).items():
        value = getattr(thing, name)
        origin: object = get_origin(hint)
        expected = get_args(hint)[0] if origin is ClassVar else hint
        expected = get_origin(expected) or expected
        if isinstance(expected, type) and not isinstance(value, expected):
            return f"its {name} must be of type {expected.__name__}, not {reprlib.repr(value)}"
        arguments = (*get_args(hint), None)[0]  # a list for Callable[[...], ...] alone
        if isinstance(arguments, list) and not _takes(value, len(arguments)):
            return f"its {name} must be a function of {len(arguments)} arguments"
    return ""


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function accepts this number of arguments; true for one without a signature (written in C)."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError) as error:
        return isinstance(error, ValueError)
    return True


def _wrong_settings(thing: Any) -> str:
    """What the ``Settings`` of a class lack: a number for each loss term, a field for each name in its attributes."""
    values = asdict(thing.Settings()) if hasattr(thing, "Settings") else {}
    for term in getattr(thing, "terms", ()):
        if not isinstance(values.get(f"weight_{term}"), int | float):
            return f"its Settings have no number weight_{term} for its term {term!r}"
    used = {name for changes in getattr(thing, "structural", {}).values() for name in changes}
    unknown = sorted({*getattr(thing, "files", ()), *used} - values.keys())
    return f"its Settings have no {unknown[0]}, which its files or structural name" if unknown else ""


def _source(point: EntryPoint) -> str:
    """The distribution of an entry point with its version, otherwise the module that it names."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
