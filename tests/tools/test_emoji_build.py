"""The builder of the dataset `emoji`; no test needs the source packages."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench.errors import DataError, UsageError
from tools.emoji import archive, build, fetch
from tools.emoji.classes import Emoji, candidates, load_definitions
from tools.emoji.drawings import Package, file_names, icon_candidates, icon_svg
from tools.emoji.render import MARGIN, PIXELS, render
from tools.emoji.sources import SOURCES, Modality
from tools.emoji.split import Class, draw_split


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
