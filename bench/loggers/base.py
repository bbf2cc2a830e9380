"""What a logger is, and the observer that feeds loggers while a run trains.

To add a logger, put a file into this folder with a subclass of ``Logger`` and ``@LOGGERS.register(name)``. Another
package uses the entry points ``bench.loggers``.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, ClassVar

from bench.errors import missing_extra
from bench.experiments.progress import Observer
from bench.experiments.progress_bars import Bars
from bench.registry import Registry, not_derived_from

log = logging.getLogger("bench.loggers")

Settings = Mapping[str, str | int | float | bool]
FACTS = ("method", "ablation", "dataset", "split", "fingerprint", "seed", "selection", "gallery")


class Logger(ABC):
    """Sends the curves of one run to another program.

    ``place`` is the text after ``--log NAME:``, or empty. Packages are imported in ``__init__``. Any exception after
    that ends the logging of the run with a warning, and the run goes on.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def __init__(self, place: str = "") -> None:
        self.place = place

    @abstractmethod
    def begin(self, title: str, key: str, settings: Settings) -> None:
        """A run begins; ``key`` is its key in the store."""

    @abstractmethod
    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Values after a training step (from 1): ``loss/TERM``, ``lr/0``, ``epoch``, ``validation/...``."""

    @abstractmethod
    def end(self, scores: Mapping[str, float]) -> None:
        """The run has ended with these scores by metric id; without scores it failed or was interrupted."""


LOGGERS: Registry[type[Logger]] = Registry("logger", "bench.loggers", "bench.loggers", wrong=not_derived_from(Logger))


def make_logger(text: str) -> Logger:
    """The logger of ``NAME[:PLACE]``.

    Raises UsageError for an unknown name, LoadingError if its package is not installed.
    """
    name, _, place = text.partition(":")
    try:
        return LOGGERS.get(name)(place)
    except ImportError as error:
        raise missing_extra(f"--log {name}", name) from error


@contextmanager
def observe(title: str, identity: Mapping[str, Any], texts: Sequence[str], *, quiet: bool) -> Iterator[Observer]:
    """Show the progress of the run with the columns ``identity``, and send its curves to the loggers of ``texts``."""
    with Bars(title, quiet=quiet) as bars, closing(Curves(bars, texts, identity)) as observer:
        yield observer


class Curves(Observer):
    """Passes everything on to ``inner``, and the values of a run to loggers; one that raises gets no more.

    Loggers open when the run begins, since another process may compute it.
    """

    def __init__(self, inner: Observer, texts: Sequence[str], identity: Mapping[str, Any]) -> None:
        self.inner, self._texts, self._identity = inner, texts, identity
        self._loggers: dict[str, Logger] = {}
        self._scores: Mapping[str, float] = {}

    def phase(self, name: str) -> None:
        """As ``Observer.phase``."""
        self._begin()
        super().phase(name)

    def progress(self, done: int, total: int, terms: Mapping[str, float]) -> None:
        """As ``Observer.progress``."""
        super().progress(done, total, terms)
        if terms:
            self._send(lambda logger: logger.add(done, {f"loss/{name}": value for name, value in terms.items()}))

    def measure(self, step: int, values: Mapping[str, float]) -> None:
        """As ``Observer.measure``."""
        super().measure(step, values)
        self._send(lambda logger: logger.add(step, values))

    def finish(self, scores: Mapping[str, float]) -> None:
        """As ``Observer.finish``."""
        super().finish(scores)
        self._scores = scores

    def close(self) -> None:
        """Close the loggers."""
        self._send(lambda logger: logger.end(self._scores))

    def _begin(self) -> None:
        facts = self._identity
        title = " ".join(filter(None, (facts["method"], facts["ablation"], "on", facts["split"])))
        for text in self._texts:
            with self._warning(text):
                logger = make_logger(text)
                logger.begin(f"{title}, seed {facts['seed']}", facts["key"], settings_of(facts))
                self._loggers[text] = logger
        self._texts = ()

    def _send(self, call: Callable[[Logger], None]) -> None:
        for text, logger in list(self._loggers.items()):
            with self._warning(text):
                call(logger)

    @contextmanager
    def _warning(self, text: str) -> Iterator[None]:
        """An exception of the block is a warning, and the logger is left out from then on."""
        try:
            yield
        except Exception as error:  # another program's, of any kind
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("--log %s failed (%s): the run goes on without it.", text.partition(":")[0], reason)
            self._loggers.pop(text, None)


def settings_of(identity: Mapping[str, Any]) -> Settings:
    """What identifies a run, and every setting by its name; no path."""
    configuration = identity["configuration"]
    settings = {name: identity[name] for name in FACTS}
    for part in ("dataset", "run", "method", "post"):
        settings |= {name: value for name, value in configuration.get(part, {}).items() if value is not None}
    return settings | {"precision": configuration["precision"]}
