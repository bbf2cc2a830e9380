"""The protocols of public code bases, declared in ``published.toml``."""

import tomllib
from pathlib import Path

from bench.evaluation.protocols.base import Protocol, declare

for name, facts in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items():
    facts |= {field: tuple(facts.get(field, ())) for field in ("metrics", "notes")}
    declare(Protocol(name=name, **facts))
