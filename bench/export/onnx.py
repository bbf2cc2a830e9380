"""A network as ONNX, which onnxruntime runs without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import LoadingError, missing_extra
from bench.experiments.experiment import Experiment
from bench.methods.base import Method
from bench.training.embed import embed_images
from bench.types import MODALITIES, Floats, Modality


class Embedding(nn.Module):
    """The embedding of one modality as a forward pass."""

    def __init__(self, method: Method, *, is_photo: bool, mirror: bool) -> None:
        super().__init__()
        self.method, self.is_photo, self.mirror = method, is_photo, mirror

    def forward(self, images: Tensor) -> Tensor:
        """float32 [batch, 3, size, size] in 0..1 to [batch, width]."""
        return torch.as_tensor(embed_images(self.method, images, self.is_photo, mirror=self.mirror))


def check_packages() -> None:
    """Raise LoadingError without the packages of the extra ``onnx``."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra("--format onnx", "onnx") from error


def write_onnx(
    experiment: Experiment, method: Method, folder: Path, *, shared: bool
) -> dict[Modality, tuple[str, Callable[[Tensor], Floats]]]:
    """Write ``model.onnx``, or one file for sketches and one for photos if they have no ``shared`` network.

    Returns the name of each modality's file, and how that file embeds uint8 [images, 3, size, size]. Raises
    LoadingError for a network that ONNX cannot express.
    """
    files = {each: "model.onnx" if shared else f"{each}.onnx" for each in MODALITIES}
    for modality, file in files.items():
        if not (folder / file).exists():
            embedding = Embedding(method, is_photo=modality == "photo", mirror=experiment.post.test_mirror).eval()
            _write(embedding, experiment.test_size, folder / file)
    return {modality: (file, load(folder / file)) for modality, file in files.items()}


def load(path: Path) -> Callable[[Tensor], Floats]:
    """How an exported file embeds images."""
    import onnxruntime

    with _loading_errors():
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def embed(pixels: Tensor) -> Floats:
        with _loading_errors():
            embeddings: Floats = session.run(["embeddings"], {"images": pixels.numpy().astype("float32") / 255})[0]
        return embeddings

    return embed


def _write(module: nn.Module, size: int, path: Path) -> None:
    example = torch.zeros(2, 3, size, size)
    with _loading_errors(), torch.no_grad():
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )


@contextmanager
def _loading_errors() -> Iterator[None]:
    """An exception of the exporter or of onnxruntime, of any kind, as a LoadingError; a full disk stays an OSError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise LoadingError(f"ONNX cannot express this network ({reason}): take --format safetensors.") from error
