"""Draws of classes with replacement, which the intervals of a whole table share."""

from __future__ import annotations

import numpy as np

from bench.types import Doubles


class Resamples:
    """How often each resample draws each class: ``times`` float64 [resamples, classes].

    What depends on the sizes of classes alone is worked out once for all that is resampled: a table has many rows on
    the same queries.
    """

    def __init__(self, times: Doubles) -> None:
        self.times = times
        self._of_sizes: dict[bytes, tuple[Doubles, Doubles]] = {}

    def sizes(self, share: Doubles) -> tuple[Doubles, Doubles]:
        """Sums over what was drawn of ``share`` float64 [classes] and of its squares: both float64 [resamples]."""
        key = share.tobytes()
        if key not in self._of_sizes:
            self._of_sizes[key] = self.times @ share, self.times @ share**2
        return self._of_sizes[key]


def class_draws(classes: int, generator: np.random.Generator, resamples: int) -> Resamples:
    """Each of the resamples draws as many classes as there are, with replacement."""
    picks = generator.integers(0, classes, size=(resamples, classes))
    picks += np.arange(resamples)[:, None] * classes  # so that one count of all numbers counts every row by itself
    drawn = np.bincount(picks.ravel(), minlength=resamples * classes).reshape(resamples, classes)
    # Class by class in memory: products with a vector take half the time.
    return Resamples(drawn.astype(np.float64, order="F"))
