"""What tests of reports begin with."""

from __future__ import annotations

import pytest

from bench.results.store import Store
from tests.reports.filling import everything


@pytest.fixture
def filled(store: Store) -> Store:
    everything(store)
    return store
