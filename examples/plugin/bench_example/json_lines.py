"""A logger: one JSON line for each step of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.loggers.base import Logger, Settings


class JsonLines(Logger):
    """Appends lines to a file, by default curves.jsonl."""

    name = "json-lines"
    summary = "JSON lines. The place is a file, by default curves.jsonl."

    def begin(self, title: str, key: str, settings: Settings) -> None:
        """Write what identifies the run."""
        self._write({"title": title, "key": key, "settings": dict(settings)})

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        self._write({"step": step, **values})

    def end(self, scores: Mapping[str, float]) -> None:
        """Write the scores."""
        self._write({"scores": dict(scores)})

    def _write(self, facts: Mapping[str, object]) -> None:
        with Path(self.place or "curves.jsonl").open("a") as file:
            file.write(json.dumps(facts) + "\n")
