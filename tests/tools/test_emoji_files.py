"""The included dataset, its card and its builder agree; no test needs the source packages."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from tools.emoji import archive, build
from tools.emoji.classes import load_definitions, slug
from tools.emoji.sources import SOURCES, SOURCES_HEADER, Modality, Source
from tools.emoji.split import SPLIT_HEADER, Class, draw_split

FOLDER = Path(__file__).parents[2] / "datasets" / "emoji"
LICENCES = FOLDER / "licences"
SHA_256 = "f447c57743ce2313a01379e53df20d73fa79ff3602c6decc9544f0a3dad81649"

# The first and the last words of every licence, and the copyright line where the text has one.
LICENCE_TEXTS = {
    "CC-BY-4.0": {
        "CC-BY-4.0.txt": ("Attribution 4.0 International", "Section 8 -- Interpretation.", "creativecommons.org.")
    },
    "CC-BY-SA-4.0": {
        "CC-BY-SA-4.0.txt": (
            "Attribution-ShareAlike 4.0 International",
            "Section 8 -- Interpretation.",
            "creativecommons.org.",
        )
    },
    "Apache-2.0": {"Apache-2.0.txt": ("Apache License", "9. Accepting Warranty", "limitations under the License.")},
    "OFL-1.1": {
        "OFL-1.1.txt": ("Copyright 2013 Google LLC", "PERMISSION & CONDITIONS", "DEALINGS IN THE FONT SOFTWARE.")
    },
    "MIT": {
        "MIT-Microsoft.txt": ("MIT License", "Copyright (c) Microsoft Corporation", "SOFTWARE."),
        "MIT-LobeHub.txt": ("MIT License", "Copyright (c) 2023 LobeHub", "SOFTWARE."),
    },
    "LicenseRef-Symbola": {
        "Symbola.txt": ("Symbola", "Copyright (C) 2007-2015 George Douros", "Fonts in this site are free for any use.")
    },
}


def table(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows(name: str) -> list[list[str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def members() -> list[str]:
    with zipfile.ZipFile(FOLDER / "emoji.zip") as shipped:
        return shipped.namelist()


@pytest.fixture(scope="module")
def card() -> str:
    return (FOLDER / "CARD.md").read_text(encoding="utf-8")


def card_line(card: str, heading: str, source: Source) -> str:
    """The line of a source in the table below a heading of the card."""
    section = card.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return next(line for line in section.splitlines() if line.startswith(f"| `{source.name}` |"))


# The shipped files


def test_the_split_drawn_again_is_the_shipped_split() -> None:
    classes = [Class(row["class"], row["group"], row["subgroup"]) for row in table("classes.csv")]
    assert [list(SPLIT_HEADER), *draw_split(classes)] == rows("split.csv")


def test_the_table_of_sources_is_the_shipped_one(members: list[str]) -> None:
    assert [list(SOURCES_HEADER), *build.source_rows(members)] == rows("sources.csv")


def test_every_member_belongs_to_a_class_and_a_source_and_the_counts_agree(members: list[str]) -> None:
    sources = {source.name: source for source in SOURCES}
    counts: Counter[tuple[str, str]] = Counter()
    for member in members:
        folder, class_name, file = member.split("/")
        source = sources[build.source_of(member)]
        number = int(file.split(".")[0][-1]) if file.split(".")[0] != source.name else 1
        assert member == source.member(class_name, number)
        counts[class_name, folder] += 1
    assert counts == {
        (row["class"], folder): int(row[column])
        for row in table("classes.csv")
        for folder, column in (("sketch", "n_sketch"), ("image", "n_image"))
    }


def test_the_archive_is_the_one_that_the_card_names(card: str) -> None:
    assert archive.fingerprint(FOLDER / "emoji.zip") == SHA_256
    assert SHA_256 in card


def test_the_classes_are_those_that_the_definitions_make() -> None:
    definitions = load_definitions()
    for row in table("classes.csv"):
        codes = row["codepoints"].split(" ")
        names = [name for name in definitions.members if slug(name) == row["class"]]
        assert len(codes) == (len(definitions.members[names[0]]) if names else 1)
        assert row["group"] in definitions.groups


def test_no_member_is_known_to_be_wrong(members: list[str]) -> None:
    assert load_definitions().wrong_drawings.isdisjoint(members)


def test_every_class_has_enough_drawings() -> None:
    for row in table("classes.csv"):
        assert int(row["n_sketch"]) >= build.FEWEST_SKETCHES
        assert int(row["n_image"]) >= build.FEWEST_PHOTOS


def test_no_sketch_source_shares_a_design_family_with_a_photo_source() -> None:
    families = {modality: {each.family for each in SOURCES if each.modality is modality} for modality in Modality}
    assert all(families.values())
    assert families[Modality.SKETCH].isdisjoint(families[Modality.PHOTO])


# The card and the licences


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_card_names_the_source_with_what_it_asks_for(source: Source, card: str, members: list[str]) -> None:
    modality = source.modality.name.lower()
    drawings = sum(build.source_of(member) == source.name for member in members)
    expected = [source.name, modality, drawings, f"{source.registry}:{source.package}", source.version, source.licence]
    line = card_line(card, "Sources", source)
    assert [cell.strip().strip("`") for cell in line.split("|")[1:-1]] == [*map(str, expected), source.family]
    assert source.attribution in card_line(card, "Credits and licences", source)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_licence_has_its_text(source: Source, card: str) -> None:
    credit = card_line(card, "Credits and licences", source)
    texts = LICENCE_TEXTS[source.licence.split(" ")[0]]
    assert any(f"(licences/{name})" in credit for name in texts)
    for name, (first, middle, last) in texts.items():
        text = (LICENCES / name).read_text(encoding="utf-8").strip()
        assert text.startswith(first)
        assert middle in text
        assert text.endswith(last)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_creative_commons_licences_are_linked(source: Source, card: str) -> None:
    links = {"CC-BY-4.0": "/licenses/by/4.0/", "CC-BY-SA-4.0": "/licenses/by-sa/4.0/"}
    assert links.get(source.licence, "") in card_line(card, "Credits and licences", source)


def test_the_card_names_the_changes_and_the_share_alike_terms(card: str) -> None:
    for word in ("cropped", "rasterised", "contour", "CC BY-SA files stay CC BY-SA"):
        assert word in card


def test_the_card_has_the_numbers_of_the_tables(card: str) -> None:
    split = {row["class"]: row["split"] for row in table("split.csv")}
    for part in ("seen", "unseen"):
        chosen = [row for row in table("classes.csv") if split[row["class"]] == part]
        sketches, photos = (sum(int(row[column]) for row in chosen) for column in ("n_sketch", "n_image"))
        assert f"| {part} | {len(chosen)} | {sketches:,} | {photos:,} |" in card
    for group, count in Counter(row["group"] for row in table("classes.csv")).items():
        assert f"{group} ({count})" in card.replace("\n  ", " ")
    assert f"gives {len({row['stratum'] for row in table('split.csv')})} strata" in card


def test_every_licence_file_is_linked_in_the_card(card: str) -> None:
    for file in LICENCES.iterdir():
        assert f"(licences/{file.name})" in card
