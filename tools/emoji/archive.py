"""Writes archives reproducibly and compares two archives member by member."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

OLDEST_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can store


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Store members sorted and uncompressed, because PNG and WebP are compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, OLDEST_TIME)
            entry.create_system = 3  # Unix on every machine, so that the permissions below apply
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, members[name])


def read_archive(path: Path) -> dict[str, bytes]:
    """All members by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """A member whose bytes differ; `largest` and `mean` are over its pixels and channels, 0 to 255."""

    member: str
    largest: int
    mean: float


@dataclass(frozen=True)
class Comparison:
    """How a rebuilt archive differs from the shipped one."""

    identical: int
    missing: tuple[str, ...]
    additional: tuple[str, ...]
    different: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether both archives have the same members with the same bytes."""
        return not (self.missing or self.additional or self.different)

    def lines(self) -> list[str]:
        """What to print: one line in all if everything is equal, else one more for every member that is not."""
        if self.equal:
            return [f"All {self.identical} members equal those of the shipped archive."]
        total = self.identical + len(self.missing) + len(self.different)
        return [
            f"{self.identical} of the {total} members of the shipped archive are equal.",
            *(f"missing: {name}" for name in self.missing),
            *(f"additional: {name}" for name in self.additional),
            *(
                f"different: {each.member} (by {each.largest} at most, {each.mean:.3f} on average)"
                for each in self.different
            ),
        ]


def compare(rebuilt: Mapping[str, bytes], shipped: Mapping[str, bytes]) -> Comparison:
    """Compares the bytes of all members, and the pixels of those that differ."""
    common = sorted(set(rebuilt) & set(shipped))
    unequal = [name for name in common if rebuilt[name] != shipped[name]]
    return Comparison(
        identical=len(common) - len(unequal),
        missing=tuple(sorted(set(shipped) - set(rebuilt))),
        additional=tuple(sorted(set(rebuilt) - set(shipped))),
        different=tuple(pixel_difference(name, rebuilt[name], shipped[name]) for name in unequal),
    )


def pixel_difference(member: str, first: bytes, second: bytes) -> Difference:
    """Compares what is seen: other versions of the encoders pack the same pixels into other bytes."""
    one, other = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16) for data in (first, second))
    distance = np.abs(one - other)
    return Difference(member, int(distance.max()), float(distance.mean()))
