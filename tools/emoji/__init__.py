"""The builder of the embedded dataset `emoji`: fetches the packages, renders the drawings, draws the split.

Maintainers run it; users of the benchmark never do, because the archive is shipped (datasets/emoji/).
It needs pillow and numpy, which the benchmark has, and from the extra `build-data` cairosvg and fonttools.

    python -m tools.emoji.fetch --src npm --symbola symbola
    python -m tools.emoji.build --src npm --symbola symbola --out out
"""
