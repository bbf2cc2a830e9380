"""``bench.load_network``: the network of a run as a plain torch module, with its preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from bench.api.arguments import cache_folder, store_url
from bench.api.runs import Run, stored_run
from bench.datasets.images.decode import decode, ink_to_square, pixels_of, to_square
from bench.errors import DataError, UsageError
from bench.experiments.resolve import choose_weights, settings_of
from bench.experiments.stored_run import stored_request
from bench.methods.base import METHODS, Context, Method
from bench.settings.post_processing import PostProcessing
from bench.training.embed import embed_images
from bench.training.trained_networks import find_network, load_method, open_trained


@dataclass(frozen=True)
class Preprocessing:
    """Turns a picture into what the network takes: float32 [3, size, size] in 0..1, RGB on white.

    ``ink_crop``: sketches are first cropped to their ink.
    """

    size: int
    ink_crop: bool = False

    def __call__(self, image: Image.Image | bytes | str | Path, *, sketch: bool = False) -> Tensor:
        """Read a picture of Pillow, the bytes of a file, or a path; raises DataError if it cannot be read."""
        if isinstance(image, str | Path):
            try:
                pixels = decode(Path(image).read_bytes(), str(image))
            except OSError as error:
                raise DataError(f"Image {image} cannot be read ({error.strerror}).") from error
        else:
            pixels = pixels_of(image) if isinstance(image, Image.Image) else decode(image, "(bytes)")
        square = ink_to_square if sketch and self.ink_crop else to_square
        return square(pixels, self.size).float().div_(255)


class Network(nn.Module):
    """A network in evaluation mode. ``preprocess`` is the preprocessing that it was trained with.

    Images are float [batch, 3, size, size] in 0..1; embeddings are float32 [batch, width], compared by cosine.
    Anything else raises UsageError.
    """

    def __init__(self, method: Method, preprocess: Preprocessing, *, mirror: bool = False) -> None:
        super().__init__()
        self.method, self.preprocess = method.to(memory_format=torch.channels_last), preprocess
        self.mirror = mirror  # the mean with the embedding of the mirror image
        self.eval()

    def embed_sketches(self, images: Tensor) -> Tensor:
        """Embeddings of sketches."""
        return self._embed(images, is_photo=False)

    def embed_photos(self, images: Tensor) -> Tensor:
        """Embeddings of photos."""
        return self._embed(images, is_photo=True)

    def _embed(self, images: Tensor, *, is_photo: bool) -> Tensor:
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            given = f"{images.dtype} {list(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise UsageError(
                f"Argument 'images' must be a float tensor [batch, 3, size, size] in 0..1, not {given}: "
                "`network.preprocess` makes one image."
            )
        images = images.to(memory_format=torch.channels_last)
        vectors = embed_images(self.method, images, is_photo, mirror=self.mirror)
        return torch.as_tensor(vectors, dtype=torch.float32, device=images.device)


def load_network(
    run: Run | int | str | Path, *, store: str | Path | None = None, cache_dir: str | Path | None = None
) -> Network:
    """The network of a stored run (itself, or its number) or of a file that ``bench`` trained, on the CPU.

    Raises BenchError for a run without a network, and if the network or its weights are not on this machine.
    """
    folder = cache_folder(cache_dir)
    record = None if isinstance(run, str | Path) else stored_run(run, store_url(store))
    # A new network draws random weights, which must not change the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        if record and not record.origin and not METHODS.get(record.method).terms:
            torch.manual_seed(record.seed)  # as ``build`` does: a run by --weights none has random ones
            request, _ = choose_weights(stored_request(record, folder))
            settings, own, dataset, post = settings_of(request)
            method = METHODS.get(request.method)(own, Context(settings, (), folder))
            crop = getattr(dataset, "ink_crop", False)
        else:
            trained = open_trained(find_network(record, folder) if record else Path(str(run)))
            method, settings, crop = load_method(trained, folder), trained.run, trained.dataset.get("ink_crop")
            post = PostProcessing(**record.configuration.get("post", {})) if record else trained.post
    return Network(method, Preprocessing(post.test_size or settings.image_size, bool(crop)), mirror=post.test_mirror)
