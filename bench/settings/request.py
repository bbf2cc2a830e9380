"""A request: what is asked of one run, as it is stored with the run, printed as a command and handed to a job."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.settings.run_settings import given

HASH = "sha256:"  # begins what stands for a file in a stored request


@dataclass(frozen=True)
class Request:
    """One run as it is asked for, names not yet looked up.

    An experiment gives its request back (``Experiment.request``): every setting that differs from its default, a
    structural ablation as its settings, paths absolute. The store keeps it without paths: a file is its hash, and the
    place of the images is left out.
    """

    method: str
    dataset: str
    split: str | None = None
    seed: int = 0
    without: tuple[str, ...] = ()  # loss terms
    structural: str = ""  # name of a structural ablation of the method
    assignments: tuple[str, ...] = ()  # key=value
    selection: str = "last"
    gallery: str = "unseen"
    per_class_limit: int | None = None
    on_bad_image: str = "error"
    precision: str = "fp32"
    checkpoint: str = ""  # file of a trained network that is scored as it is

    def to_json(self) -> dict[str, Any]:
        """The request as JSON has it; ``from_json`` reads it back."""
        facts = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Request:
        """The request that ``to_json`` wrote."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        return cls(**values)

    def words(self, seeds: Sequence[int] | None = None) -> list[str]:
        """The arguments of ``bench`` that ask for this run, or for it with these ``seeds``."""
        seeds = (self.seed,) if seeds is None else seeds
        called = ["ablate", "--structural"] if self.structural else ["run"]  # which has no option for a single one
        words, selection = [*called, "-m", self.method, "-d", self.dataset], self.selection
        if self.checkpoint:  # its file tells what belongs to the training
            words, selection, seeds = ["run", "--checkpoint", self.checkpoint, "-d", self.dataset], "last", ()
        options: list[tuple[str, object]] = [("--split", self.split)]
        options += [("--seed", seed) for seed in seeds]
        options += [("--without", term) for term in self.without]
        options += [("--set", assignment) for assignment in self.assignments]
        options += [
            (option, value)
            for option, value, default in (
                ("--precision", self.precision, "fp32"),
                ("--select", selection, "last"),
                ("--gallery", self.gallery, "unseen"),
                ("--on-bad-image", self.on_bad_image, "error"),
                ("--limit", self.per_class_limit, None),
            )
            if value != default
        ]
        return words + [word for option, value in options if value is not None for word in (option, str(value))]

    def command(self, seeds: Sequence[int] | None = None) -> str:
        """The command of a stored request; PATH, FILE and RUN in it are for the reader to replace."""
        words = ["RUN" if word.startswith(HASH) else _without_hash(word) for word in self.words(seeds)]
        if self.dataset == "folder" and "root" not in given(self.assignments):
            words += ["--set", "root=PATH"]
        return shlex.join(["bench", *words])


def in_text(value: object) -> str:
    """The value of a setting as ``--set`` takes it.

    >>> [in_text(value) for value in (6.0, 0.0003, True, None, "adamw")]
    ['6', '0.0003', 'true', 'none', 'adamw']
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _without_hash(word: str) -> str:
    key, equals, value = word.partition("=")
    return f"{key}=FILE" if equals and value.startswith(HASH) else word
