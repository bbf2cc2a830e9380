"""Names to objects: a file in the right package, or an entry point of another package, adds one.

A registry imports the modules of its package when it is first asked, so nothing happens at import and a new file
needs no edit elsewhere.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from bench.errors import LoadingError, UsageError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects of one kind by name.

    ``kind`` is the word used in messages ("method"), ``package`` the package whose modules register theirs, ``group``
    the entry-point group through which other distributions add theirs.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self._known: dict[str, T] = {}
        self._plugins: dict[str, EntryPoint] = {}
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

        Raises UsageError with the nearest name when there is none, LoadingError when its plug-in does not import.
        """
        self._look_into(name)
        if name not in self._known:
            self._discover()
        if name not in self._known and name in self._plugins:
            self._load(self._plugins[name])
        if name not in self._known:
            raise UsageError(f"There is no {self.kind} {name!r}. {nearest(name, self.names())}")
        return self._known[name]

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        home = importlib.import_module(self.package)
        for module in sorted(pkgutil.iter_modules(home.__path__), key=lambda each: each.name):
            importlib.import_module(f"{self.package}.{module.name}")
        self._plugins = {point.name: point for point in entry_points(group=self.group)}

    def _look_into(self, name: str) -> None:
        """Import the module that is called like the thing, so that asking for one name does not import the others."""
        module = f"{self.package}.{name.replace('-', '_')}"
        if not self._discovered and module.rpartition(".")[2].isidentifier() and importlib.util.find_spec(module):
            importlib.import_module(module)

    def _load(self, point: EntryPoint) -> None:
        try:
            thing = point.load()
        except Exception as error:  # whatever a stranger's module raises, the cure is the same
            raise LoadingError(
                f"The {self.kind} {point.name!r} of the package behind {point.value!r} cannot be loaded "
                f"({type(error).__name__}: {error}); mend or uninstall that package."
            ) from error
        self._known.setdefault(point.name, thing)
