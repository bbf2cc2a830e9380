"""The included dataset, its card and its builder agree; no test needs the source packages."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench.errors import DataError, UsageError
from tools.emoji import archive, build, fetch
from tools.emoji.classes import Emoji, candidates, load_definitions, slug
from tools.emoji.drawings import Package, file_names, icon_candidates, icon_svg
from tools.emoji.render import MARGIN, PIXELS, render
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


# The parts of the builder


def test_small_subgroups_are_pooled_and_half_of_a_stratum_at_most_is_unseen() -> None:
    large = [Class(f"bird-{number}", "animals", "bird") for number in range(10)]
    small = [Class("ant", "animals", "bug"), Class("rose", "animals", "flower")]
    drawn = draw_split([*large, *small])
    assert {row[2] for row in drawn} == {"animals/bird", "animals/small"}
    assert [row[1] for row in drawn[:10]].count("unseen") == 2  # 2.3, of which 0.3 is carried
    assert [row[1] for row in drawn[10:]].count("unseen") == 1  # 0.46 + 0.3


def emoji(annotation: str, code: str = "1F400", subgroup: str = "mammal") -> Emoji:
    return Emoji(annotation, code, "animals-nature", subgroup)


def named_emoji() -> list[Emoji]:
    """One emoji for every name in the definitions."""
    return [emoji(name) for name in sorted(load_definitions().annotations())]


def test_merged_and_renamed_emoji_make_one_class_and_others_are_left_out() -> None:
    found = {each.class_name: each for each in candidates(named_emoji(), load_definitions())}
    assert [each.annotation for each in found["dog"].emoji] == ["dog", "dog face", "poodle"]
    assert [each.annotation for each in found["pistol"].emoji] == ["water pistol"]
    assert "guide-dog" not in found


def test_sparse_subgroups_give_only_what_is_kept() -> None:
    clocks = [emoji("one o\N{RIGHT SINGLE QUOTATION MARK}clock", subgroup="time"), emoji("an hour", subgroup="other")]
    found = {each.class_name for each in candidates([*named_emoji(), *clocks], load_definitions())}
    assert "one-oclock" not in found
    assert {"an-hour", "watch"} <= found


def test_a_name_that_no_emoji_has_is_a_mistake() -> None:
    without_dog = [each for each in named_emoji() if each.annotation != "dog"]
    with pytest.raises(DataError, match="No emoji is called 'dog'"):
        candidates(without_dog, load_definitions())


def test_two_classes_of_one_name_are_a_mistake() -> None:
    with pytest.raises(DataError, match="Two classes are called 'pistol'"):
        candidates([*named_emoji(), emoji("pistol")], load_definitions())


def test_file_names_try_the_variation_selector() -> None:
    assert list(file_names(emoji("sun", "2600-FE0F"))) == ["2600-fe0f", "2600", "2600-fe0f"]


def test_fxemoji_names_come_first() -> None:
    fxemoji = next(source for source in SOURCES if source.name == "fxemoji")
    twemoji = next(source for source in SOURCES if source.name == "twemoji")
    assert list(icon_candidates(fxemoji, emoji("hot pepper"), load_definitions())) == [
        "chilipepper",
        "hot-pepper",
        "hotpepper",
    ]
    assert list(icon_candidates(twemoji, emoji("hot pepper"), load_definitions())) == ["hot-pepper"]


def test_an_icon_takes_missing_sizes_from_its_set_and_follows_aliases(tmp_path: Path) -> None:
    path = tmp_path / "icons.json"
    path.write_text(
        '{"height": 32, "icons": {"cat": {"body": "<path fill=\\"currentColor\\"/>", "width": 24}},'
        ' "aliases": {"kitten": {"parent": "cat"}, "turned": {"parent": "cat", "hFlip": true}}}',
        encoding="utf-8",
    )
    svg = icon_svg(path, "kitten")
    assert 'viewBox="0 0 24 32"' in svg
    assert 'fill="#000"' in svg
    with pytest.raises(DataError, match="turned alias"):
        icon_svg(path, "turned")


def circle(filled: bool) -> Image.Image:
    drawing = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    ink = (0, 0, 0, 255)
    ImageDraw.Draw(drawing).ellipse((60, 40, 160, 140), outline=ink, width=8, fill=ink if filled else None)
    return drawing


@pytest.mark.parametrize("filled", [False, True])
def test_a_sketch_is_a_line_on_white_with_a_margin(filled: bool) -> None:
    data = render(circle(filled), Modality.SKETCH, take_contour=filled)
    sketch = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert sketch.shape == (PIXELS, PIXELS)
    assert len(np.unique(sketch)) <= 16
    assert sketch[PIXELS // 2, PIXELS // 2] == 255
    inked = np.flatnonzero((sketch < 128).any(axis=0))
    assert inked[0] == pytest.approx(MARGIN, abs=2)
    assert inked[-1] == pytest.approx(PIXELS - 1 - MARGIN, abs=2)


def test_a_photo_is_a_webp_of_the_same_size() -> None:
    photo = Image.open(io.BytesIO(render(circle(True), Modality.PHOTO, take_contour=False)))
    assert (photo.format, photo.size) == ("WEBP", (PIXELS, PIXELS))


def test_a_blank_drawing_is_a_mistake() -> None:
    with pytest.raises(DataError, match="blank"):
        render(Image.new("RGBA", (50, 50), (0, 0, 0, 0)), Modality.PHOTO, take_contour=False)


def test_equal_drawings_are_kept_once_within_class_and_modality() -> None:
    drawings = {
        "image/a/fxemoji.webp": b"1",
        "image/a/fxemoji-2.webp": b"1",
        "image/b/fxemoji.webp": b"1",
        "sketch/a/openmoji.png": b"1",
    }
    assert set(build.without_duplicates(drawings)) == set(drawings) - {"image/a/fxemoji.webp"}


def test_a_member_of_no_source_is_a_mistake() -> None:
    with pytest.raises(DataError, match="belongs to no source"):
        build.source_of("image/dog/unknown.webp")


def test_equal_members_make_equal_archives(tmp_path: Path) -> None:
    archive.write_archive(tmp_path / "one.zip", {"b": b"2", "a": b"1"})
    archive.write_archive(tmp_path / "other.zip", {"a": b"1", "b": b"2"})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    assert archive.read_archive(tmp_path / "one.zip") == {"a": b"1", "b": b"2"}


def test_the_comparison_names_what_differs() -> None:
    def png(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", (2, 2), value).save(buffer, "PNG")
        return buffer.getvalue()

    shipped = {"same": png(0), "other": png(10), "gone": png(0)}
    comparison = archive.compare({"same": png(0), "other": png(13), "new": png(0)}, shipped)
    assert not comparison.equal
    assert comparison.lines() == [
        "1 of the 3 members of the shipped archive are equal.",
        "missing: gone",
        "additional: new",
        "different: other (by 3 at most, 3.000 on average)",
    ]
    assert archive.compare(shipped, shipped).lines() == ["All 3 members equal those of the shipped archive."]


def test_missing_packages_and_clients_are_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"python -m tools\.emoji\.fetch"):
        Package(SOURCES[0], tmp_path).check()
    with pytest.raises(UsageError, match="no-such-client is not installed"):
        fetch.run(["no-such-client"], tmp_path)
    arguments = ["--src", str(tmp_path), "--symbola", str(tmp_path), "--out", str(tmp_path)]
    assert build.main(arguments) == DataError.exit_code


def test_what_is_there_is_not_fetched_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in SOURCES:
        (tmp_path / source.folder).mkdir()
    assert fetch.main(["--src", str(tmp_path), "--symbola", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("is there already.") == len(SOURCES)
