"""The table of sources: which package, version and licence every drawing of the dataset comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Modality(Enum):
    """The value is the folder in the archive: `image/` for photos, because they are no photographs."""

    SKETCH = "sketch"
    PHOTO = "image"

    @property
    def extension(self) -> str:
        """PNG keeps lines exactly; WebP is smaller for colours."""
        return "png" if self is Modality.SKETCH else "webp"


class Form(Enum):
    """The file format of the drawings in a package."""

    SVG_FILES = "one SVG file per code point"
    WEBP_FILES = "one WebP file per code point"
    ICON_SET = "one JSON file of named SVG bodies"
    FONT = "one outline font"


@dataclass(frozen=True)
class Source:
    """One design from one package.

    `family` is the original design: drawings of one family look alike, so that sketches and photos may not share a
    family (see datasets/emoji/CARD.md). `contour`: drawings are filled silhouettes and are reduced to their contour.
    """

    name: str
    package: str
    version: str
    licence: str
    modality: Modality
    family: str
    form: Form
    path: str
    attribution: str
    registry: str = "npm"
    contour: bool = False

    @property
    def folder(self) -> str:
        """The folder that the package is unpacked to: its name without scope marks, and its version."""
        return f"{self.package.lstrip('@').replace('/', '-')}-{self.version}"

    def member(self, class_name: str, number: int) -> str:
        """The archive member of the class's drawing with this number, counted from 1."""
        suffix = "" if number == 1 else f"-{number}"
        return f"{self.modality.value}/{class_name}/{self.name}{suffix}.{self.modality.extension}"

    def row(self, files: int) -> list[str]:
        """The line of sources.csv."""
        package = f"{self.registry}:{self.package}"
        modality = self.modality.value
        return [self.name, package, self.version, self.licence, modality, self.family, str(files), self.attribution]


SOURCES = (
    Source(
        name="openmoji",
        package="openmoji",
        version="17.0.0",
        licence="CC-BY-SA-4.0",
        modality=Modality.SKETCH,
        family="openmoji",
        form=Form.SVG_FILES,
        path="black/svg",
        attribution="OpenMoji project (openmoji.org), black outline set",
    ),
    Source(
        name="emojione-mono",
        package="@iconify-json/emojione-monotone",
        version="1.2.1",
        licence="CC-BY-4.0",
        modality=Modality.SKETCH,
        family="emojione",
        form=Form.ICON_SET,
        path="icons.json",
        attribution="EmojiOne 2.2.7 (emojione.com / EmojiTwo)",
        contour=True,
    ),
    Source(
        name="noto-mono",
        package="@expo-google-fonts/noto-emoji",
        version="0.4.7",
        licence="OFL-1.1",
        modality=Modality.SKETCH,
        family="noto",
        form=Form.FONT,
        path="300Light/NotoEmoji_300Light.ttf",
        attribution="Copyright 2013 Google LLC, Noto Emoji font (weight 300)",
    ),
    Source(
        name="symbola",
        package="fonts-symbola",
        version="2.60-1.1",
        licence="LicenseRef-Symbola (free for any use; edit, modify, redistribute)",
        modality=Modality.SKETCH,
        family="symbola",
        form=Form.FONT,
        path="usr/share/fonts/truetype/ancient-scripts/Symbola_hint.ttf",
        attribution="Symbola, Copyright 2007-2015 George Douros",
        registry="deb",
    ),
    Source(
        name="fluent-3d",
        package="@lobehub/fluent-emoji-3d",
        version="1.1.0",
        licence="MIT",
        modality=Modality.PHOTO,
        family="fluent",
        form=Form.WEBP_FILES,
        path="assets",
        attribution="Copyright (c) Microsoft Corporation, Fluent Emoji 3D; packaged by LobeHub",
    ),
    Source(
        name="fluent-flat",
        package="@iconify-json/fluent-emoji-flat",
        version="1.2.6",
        licence="MIT",
        modality=Modality.PHOTO,
        family="fluent",
        form=Form.ICON_SET,
        path="icons.json",
        attribution="Copyright (c) Microsoft Corporation, Fluent Emoji flat",
    ),
    Source(
        name="noto-v1",
        package="@iconify-json/noto-v1",
        version="1.2.5",
        licence="Apache-2.0",
        modality=Modality.PHOTO,
        family="noto-v1",
        form=Form.ICON_SET,
        path="icons.json",
        attribution="Google Inc, Noto Emoji (v1, 2016-17 design)",
    ),
    Source(
        name="twemoji",
        package="@iconify-json/twemoji",
        version="1.2.5",
        licence="CC-BY-4.0",
        modality=Modality.PHOTO,
        family="twemoji",
        form=Form.ICON_SET,
        path="icons.json",
        attribution="Twitter Emoji (Twemoji), Copyright Twitter, Inc and other contributors",
    ),
    Source(
        name="emojione-v1",
        package="@iconify-json/emojione-v1",
        version="1.2.3",
        licence="CC-BY-SA-4.0",
        modality=Modality.PHOTO,
        family="emojione-v1",
        form=Form.ICON_SET,
        path="icons.json",
        attribution="EmojiOne 1.5.2 (joypixels/emojione-legacy)",
    ),
    Source(
        name="fxemoji",
        package="@iconify-json/fxemoji",
        version="1.2.2",
        licence="Apache-2.0",
        modality=Modality.PHOTO,
        family="fxemoji",
        form=Form.ICON_SET,
        path="icons.json",
        attribution="Mozilla Foundation, FxEmojis",
    ),
)

SOURCES_HEADER = ("source", "package", "version", "licence", "domain", "design_family", "n_files", "attribution")
