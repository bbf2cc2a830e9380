"""Builds the dataset `emoji` from the fetched packages and compares it with the one that is shipped.

Other versions of cairo, FreeType or libwebp may draw other bytes; the shipped archive stays the dataset.

    python -m tools.emoji.build --src npm --symbola symbola --out out
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

from bench.errors import BenchError, DataError
from tools.emoji.archive import compare, fingerprint, read_archive, write_archive
from tools.emoji.classes import Candidate, Definitions, candidates, load_definitions, read_emoji
from tools.emoji.drawings import Drawing, Package
from tools.emoji.render import render
from tools.emoji.sources import SOURCES, SOURCES_HEADER, Modality
from tools.emoji.split import SPLIT_HEADER, Class, draw_split

SHIPPED = Path(__file__).parents[2] / "datasets" / "emoji"
EMOJI_LIST = "data/openmoji.json"  # OpenMoji's package lists the emoji of Unicode with their groups

# Classes with fewer drawings are given up, so that each one has several designs on both sides.
FEWEST_SKETCHES = 3
FEWEST_PHOTOS = 4

CLASSES_HEADER = ("class", "codepoints", "group", "subgroup", "n_sketch", "n_image", "n_photo")
PHOTOGRAPHS = "0"  # the column n_photo: the dataset has pictures only, no photograph


@dataclass(frozen=True)
class Job:
    """One drawing to render and the archive member that it becomes."""

    package: Package
    drawing: Drawing
    member: str


def open_packages(npm: Path, symbola: Path) -> list[Package]:
    """Every source with its folder, once all are known to be there."""
    packages = [Package(source, npm / source.folder if source.registry == "npm" else symbola) for source in SOURCES]
    for package in packages:
        package.check()
    return packages


def plan(classes: Iterable[Candidate], packages: Sequence[Package], definitions: Definitions) -> list[Job]:
    """Every drawing that the packages have of the classes, except those known to be wrong."""
    jobs = []
    for each in classes:
        for number, emoji in enumerate(each.emoji, start=1):
            for package in packages:
                drawing = package.find(emoji, definitions)
                member = package.source.member(each.class_name, number)
                if drawing is not None and member not in definitions.wrong_drawings:
                    jobs.append(Job(package, drawing, member))
    return jobs


def render_job(job: Job) -> bytes:
    """Renders one drawing; a mistake in it is reported with the name of the member."""
    source = job.package.source
    try:
        return render(job.package.load(job.drawing), source.modality, source.contour)
    except DataError as error:
        raise DataError(f"{job.member}: {error}") from error


def without_duplicates(members: dict[str, bytes]) -> dict[str, bytes]:
    """Of drawings that are equal byte for byte within a class and modality, only the first by name is kept."""
    kept: dict[tuple[str, bytes], str] = {}
    for name in sorted(members):
        kept.setdefault((name.rpartition("/")[0], members[name]), name)
    return {name: members[name] for name in kept.values()}


def class_row(candidate: Candidate, counts: Counter[str]) -> list[str] | None:
    """The line of classes.csv, or None if the class has too few drawings."""
    sketches, photos = (counts[f"{modality.value}/{candidate.class_name}"] for modality in Modality)
    if sketches < FEWEST_SKETCHES or photos < FEWEST_PHOTOS:
        return None
    origin = [candidate.class_name, candidate.code_points, candidate.group, candidate.subgroup]
    return [*origin, str(sketches), str(photos), PHOTOGRAPHS]


def source_of(member: str) -> str:
    """The source's name in the name of a member.

    >>> source_of("image/dog/fluent-3d-2.webp"), source_of("sketch/dog/openmoji.png")
    ('fluent-3d', 'openmoji')
    """
    name = re.sub(r"-[2-9]$", "", Path(member).stem)
    if name not in {source.name for source in SOURCES}:
        raise DataError(f"{member} belongs to no source: name it after one of tools/emoji/sources.py.")
    return name


def source_rows(members: Iterable[str]) -> list[list[str]]:
    """The lines of sources.csv."""
    counts = Counter(source_of(member) for member in members)
    return [source.row(counts[source.name]) for source in SOURCES]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a CSV file with the line ends of the CSV standard, as in the shipped tables."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def build(npm: Path, symbola: Path, out: Path, processes: int) -> None:
    """Writes emoji.zip and the three tables to `out`."""
    packages = open_packages(npm, symbola)
    definitions = load_definitions()
    emoji_list = next(each.folder for each in packages if each.source.name == "openmoji") / EMOJI_LIST
    classes = candidates(read_emoji(emoji_list, definitions.groups), definitions)
    jobs = plan(classes, packages, definitions)
    with Pool(processes) as pool:
        rendered = pool.map(render_job, jobs, chunksize=40)
    members = without_duplicates({job.member: data for job, data in zip(jobs, rendered, strict=True)})

    counts = Counter(member.rpartition("/")[0] for member in members)
    rows = sorted(row for each in classes if (row := class_row(each, counts)) is not None)
    used = {row[0] for row in rows}
    members = {name: data for name, data in members.items() if name.split("/")[1] in used}

    out.mkdir(parents=True, exist_ok=True)
    write_archive(out / "emoji.zip", members)
    write_table(out / "classes.csv", CLASSES_HEADER, rows)
    write_table(out / "sources.csv", SOURCES_HEADER, source_rows(members))
    write_table(out / "split.csv", SPLIT_HEADER, draw_split([Class(row[0], row[2], row[3]) for row in rows]))
    print(f"{len(rows)} classes, {len(members)} drawings; {len(classes) - len(rows)} classes have too few drawings.")


def report(out: Path) -> bool:
    """Says what differs from the shipped dataset, and whether nothing does."""
    comparison = compare(read_archive(out / "emoji.zip"), read_archive(SHIPPED / "emoji.zip"))
    print(*comparison.lines(), sep="\n")
    tables_equal = True
    for name in ("classes.csv", "sources.csv", "split.csv"):
        equal = (out / name).read_bytes() == (SHIPPED / name).read_bytes()
        tables_equal &= equal
        print(f"{name} {'equals' if equal else 'differs from'} the shipped one.")
    print(f"SHA-256 of the shipped archive: {fingerprint(SHIPPED / 'emoji.zip')}")
    return comparison.equal and tables_equal


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: all equal; 1: built, but something differs; else that of the mistake."""
    parser = argparse.ArgumentParser(prog="python -m tools.emoji.build", description="Build the dataset emoji again.")
    parser.add_argument("--src", type=Path, required=True, help="folder of the unpacked npm packages")
    parser.add_argument("--symbola", type=Path, required=True, help="folder of the unpacked Debian font package")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that render (all cores)")
    options = parser.parse_args(arguments)
    try:
        build(options.src, options.symbola, options.out, options.jobs)
        return 0 if report(options.out) else 1
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
