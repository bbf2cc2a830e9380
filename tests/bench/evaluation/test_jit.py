"""The decorator of compiled loops: what is kept on disk, and that nothing depends on it."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import _CacheLocator

from bench.evaluation.jit import compiled, over_queries
from bench.types import Doubles, Labels


def test_machine_code_need_not_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system where no folder can be written, each process compiles for itself."""

    def refuse(_: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(_CacheLocator, "ensure_cache_path", refuse)

    @compiled
    def twice(number: int) -> int:
        return 2 * number

    def best(ranks: Labels, value: Doubles) -> None:
        value[0] = ranks[0]

    assert twice(21) == 42
    assert not twice.stats.cache_path  # type: ignore[attr-defined]
    names, ufunc = over_queries(best, ())
    assert names == ("ranks",)
    assert ufunc(np.array([[3, 4], [5, 6]])).tolist() == [3, 5]


def test_machine_code_is_kept_beside_the_source() -> None:
    from bench.evaluation.ranking_kernels import count_rows

    assert count_rows.stats.cache_path  # type: ignore[attr-defined]
