"""Names to objects: a file in the right package, or an entry point of another package, adds one.

A registry imports the modules of its package when it is first asked, so nothing happens at import and a new file
needs no edit elsewhere. An entry point is imported when its name is asked for, or by a listing of everything; one that
cannot be used is a warning there, and an error for those alone who ask for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from bench.declared import misdeclared, takes, unsettable
from bench.errors import LoadingError, UsageError, nearest

T = TypeVar("T")

log = logging.getLogger("bench.registry")


@dataclass(frozen=True)
class Plugin:
    """An entry point: the name that it adds, the distribution that it is of, and what is wrong with it, if anything."""

    kind: str
    name: str
    source: str
    trouble: str


class Registry(Generic[T]):
    """Objects of one kind by name.

    ``kind`` is the word used in messages ("method"), ``package`` the package whose modules register theirs, ``group``
    the entry-point group through which other distributions add theirs; where registries share a group, ``prefix`` is
    how the entry points of this one begin (``kind.``). ``wrong`` says why an object is none of this kind, ``""`` for
    one that is.
    """

    def __init__(
        self, kind: str, package: str, group: str, *, prefix: str = "", wrong: Callable[[Any], str] | None = None
    ) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self.prefix = prefix
        self._wrong = wrong or (lambda thing: "")
        self._known: dict[str, T] = {}
        self._plugins: dict[str, list[EntryPoint]] = {}  # of one name only the first counts
        self._told: set[str] = set()
        self._failed: dict[str, LoadingError] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator (or function of an instance) that enters an object under ``name``.

        Raises ValueError when the name is taken: two files claim it, which is a bug of the second.
        """

        def enter(thing: T) -> T:
            if self._known.setdefault(name, thing) is not thing:
                raise ValueError(f"two {self.kind}s are called {name!r}: {self._known[name]!r} and {thing!r}")
            return thing

        return enter

    def names(self) -> list[str]:
        """Every known name in alphabetical order, plug-ins included (those are not imported by this)."""
        self._discover()
        return sorted(self._known.keys() | self._plugins.keys())

    def get(self, name: str) -> T:
        """The object called ``name``.

        Raises UsageError with the nearest name when there is none, LoadingError when its plug-in cannot be used.
        """
        self._look_into(name)
        if name not in self._known:
            self._discover()
        if name not in self._known and name in self._plugins:
            self._known.setdefault(name, self._load(name))
        if name not in self._known:
            raise UsageError(f"There is no {self.kind} {name!r}. {nearest(name, self.names())}")
        return self._known[name]

    def at_hand(self, name: str) -> T | None:
        """The object called ``name`` if the module of that name has it; None where all others would be imported."""
        self._look_into(name)
        return self._known.get(name)

    def items(self) -> list[tuple[str, T]]:
        """Every name with its object, in alphabetical order; a plug-in that cannot be used is a warning, said once."""
        for trouble in (plugin.trouble for plugin in self.plugins()):
            if trouble and trouble not in self._told:
                log.warning("%s", trouble)
                self._told.add(trouble)
        return [(name, self._known[name]) for name in self.names() if name in self._known]

    def plugins(self) -> list[Plugin]:
        """Every entry point of this kind, imported to see whether it can be used."""
        self._discover()
        return [
            Plugin(self.kind, name, _source(point), self._trouble(name, point))
            for name, points in sorted(self._plugins.items())
            for point in points
        ]

    def source(self, name: str) -> str:
        """Distribution and version that ``name`` is a plug-in of; empty for what is this project's own."""
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
            if not module.ispkg:  # the packages beside hold what the modules share
                importlib.import_module(f"{self.package}.{module.name}")
        for point in sorted(entry_points(group=self.group), key=_source):
            if point.name.startswith(self.prefix):
                self._plugins.setdefault(point.name.removeprefix(self.prefix), []).append(point)

    def _look_into(self, name: str) -> None:
        """Import the module that is called like the thing, so that asking for one name does not import the others."""
        module = f"{self.package}.{name.replace('-', '_')}"
        if not self._discovered and module.rpartition(".")[2].isidentifier() and importlib.util.find_spec(module):
            importlib.import_module(module)

    def _load(self, name: str) -> T:
        """What the first entry point of that name leads to; raises LoadingError unless it can be used."""
        point = self._plugins[name][0]
        if name in self._failed:  # a module that is imported again may fail otherwise, having done half of its work
            raise self._failed[name]
        try:
            thing = point.load()
            wrong = self._wrong(thing)
        except (Exception, SystemExit) as error:  # whatever a stranger's module raises, the cure is the same
            self._failed[name] = self._unusable(name, point, f"{type(error).__name__}: {error}")
            raise self._failed[name] from error
        if not wrong and getattr(thing, "name", name) != name:
            wrong = f"it calls itself {thing.name!r}"
        if wrong:
            raise self._unusable(name, point, wrong)
        return thing  # type: ignore[no-any-return]

    def _trouble(self, name: str, point: EntryPoint) -> str:
        """Why an entry point is not used; empty when it is."""
        try:
            if point is self._plugins[name][0] and self.get(name) is self._load(name):
                return ""
        except LoadingError as error:
            return str(error)
        return (
            f"The {self.kind} {name!r} of {_source(point)} is not used, since there is another of that name: "
            "rename it or uninstall that package."
        )

    def _unusable(self, name: str, point: EntryPoint, why: str) -> LoadingError:
        return LoadingError(
            f"The {self.kind} {name!r} of {_source(point)}, {point.value}, cannot be loaded ({why}); "
            "mend or uninstall that package."
        )


def not_derived_from(base: type) -> Callable[[Any], str]:
    """For ``wrong``: an object must be a class below ``base`` that declares what a subclass has to, and rightly."""

    def wrong(thing: Any) -> str:
        if not (isinstance(thing, type) and issubclass(thing, base)):
            return f"it is no class derived from {base.__module__}.{base.__name__}"
        missing = [name for name in inspect.get_annotations(base) if not hasattr(thing, name)]
        missing += [name for name in dir(thing) if getattr(getattr(thing, name), "__isabstractmethod__", False)]
        if missing:
            return f"its class lacks {', '.join(missing)}"
        return misdeclared(base, thing) or unsettable(thing)

    return wrong


def not_a(kind: type) -> Callable[[Any], str]:
    """For ``wrong``: an object must be an instance of ``kind``, a dataclass, with fields of their types."""

    def wrong(thing: Any) -> str:
        return misdeclared(kind, thing) if isinstance(thing, kind) else f"it is no {kind.__module__}.{kind.__name__}"

    return wrong


def not_callable(thing: Any) -> str:
    """For ``wrong``: an object must be a function of two arguments, as those that make tables and pictures are."""
    if not callable(thing) or isinstance(thing, type):
        return "it is no function"
    return "" if takes(thing, 2) else "it does not take two arguments, the source and the options"


def _source(point: EntryPoint) -> str:
    """The distribution of an entry point with its version, else the module that it names."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
