"""A request for one run. It is stored with the run, printed as a command, and sent to a job."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.settings.run_settings import given

HASH = "sha256:"  # prefix of the hash that replaces a file in a stored request


@dataclass(frozen=True)
class Request:
    """A run as a user requests it, with names not yet looked up.

    ``Experiment.request`` has every setting that differs from its default, and absolute paths. The stored request has
    no paths: hashes replace files, and the folder of the images is left out.
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
        """The request as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Request:
        """The request of the values of ``to_json``."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        return cls(**values)

    def words(self, seeds: Sequence[int] | None = None) -> list[str]:
        """The arguments of ``bench`` for this run, or for it with these ``seeds``."""
        selection, seeds = self.selection, (self.seed,) if seeds is None else seeds
        command = ["ablate", "--structural"] if self.structural else ["run"]  # run has no option for structural ones
        words = [*command, "-m", self.method, "-d", self.dataset]
        if self.checkpoint:  # its file has the settings of the training
            words, selection, seeds = ["run", "--checkpoint", self.checkpoint, "-d", self.dataset], "last", ()
        options: list[tuple[str, object, object]] = [
            ("--split", self.split, None),
            *(("--seed", seed, None) for seed in seeds),
            *(("--without", term, None) for term in self.without),
            *(("--set", assignment, None) for assignment in self.assignments),
            ("--precision", self.precision, "fp32"),
            ("--select", selection, "last"),
            ("--gallery", self.gallery, "unseen"),
            ("--on-bad-image", self.on_bad_image, "error"),
            ("--limit", self.per_class_limit, None),
        ]
        return words + [word for option, value, default in options if value != default for word in (option, str(value))]

    def command(self, seeds: Sequence[int] | None = None) -> str:
        """The command of a stored request, with the placeholders PATH, FILE and RUN."""
        words = ["RUN" if word.startswith(HASH) else re.sub(f"={HASH}.*", "=FILE", word) for word in self.words(seeds)]
        if self.dataset == "folder" and "root" not in given(self.assignments):
            words += ["--set", "root=PATH"]
        return shlex.join(["bench", *words])


def in_text(value: object) -> str:
    """The value of a setting as ``--set`` takes it.

    >>> [in_text(value) for value in (6.0, 0.0003, True, None, "adamw", ["cat", "dog"])]
    ['6', '0.0003', 'true', 'none', 'adamw', 'cat,dog']
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
