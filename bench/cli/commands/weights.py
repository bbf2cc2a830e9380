"""``bench weights``: published ImageNet weights of backbones, and their download."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.output import Format, global_option, print_rows

weights = typer.Typer(no_args_is_help=True, help="ImageNet weights of backbones: list and download.")
app.add_typer(weights, name="weights")


@weights.command("list", epilog="Example: bench weights list 'convnext_*'")
def list_(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATTERN]",
            help="timm's names, such as 'vit_*'.",
            show_default="those of packages, torchvision and CLIP",
        ),
    ] = None,
    format: Format = "table",
) -> None:
    """List published weights: source, size, licence, and the file on this machine."""
    from bench.methods.backbone.architectures import find_backbones
    from bench.methods.backbone.published_weights import CLIP, PACKAGES, PUBLISHED, default_file, source_of

    rows = []
    for name in [*PACKAGES, *PUBLISHED, *CLIP] if pattern is None else find_backbones(pattern):
        (source, size, licence), file = source_of(name), default_file(name)
        size = file.stat().st_size if file else size
        megabytes = None if size is None else round(size / 1e6, 1)
        row = {"backbone": name, "source": source, "megabytes": megabytes, "licence": licence}
        rows.append({**row, "file": str(file) if file else None})
    print_rows("weights", rows, format, digits=1)


@weights.command(epilog="Example: bench weights get resnet50")
def get(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Backbones, by timm's names.")],
) -> None:
    """Download weights into the folders of torchvision and timm, which `bench run` reads."""
    from bench.methods.backbone.architectures import check_backbone
    from bench.methods.backbone.fetch_weights import fetch_weights

    for name in names:
        check_backbone(name)
    for name in names:
        typer.echo(f"{name}\t{fetch_weights(name, progress=not global_option(ctx, 'quiet'))}")
