"""Prompts, low-rank weights and CLIP's towers against the libraries' own networks, and counts of what is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import BenchError, LoadingError, UsageError
from bench.experiments.experiment import Resources
from bench.experiments.resolve import choose_weights, resolve
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import CLIP, CLIP_FILE
from bench.methods.backbone.weights import load_weights
from bench.methods.base import METHODS, Context, Method
from bench.methods.clip_prompt import freeze_all_but_normalisations
from bench.methods.modules.low_rank import LowRankLayers
from bench.methods.modules.text_tower import encode_texts, read_text_tower, texts_of
from bench.settings.request import Request
from bench.settings.run_settings import RunSettings
from bench.types import Batch
from tests.pictures import write_folder

open_clip = pytest.importorskip("open_clip")
SIZE, WIDTH = 32, 24  # of images, of embeddings


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    """A small CLIP of open_clip with random weights."""
    torch.manual_seed(0)
    vision = {"image_size": SIZE, "patch_size": 8, "width": 64, "layers": 2}
    text = {"width": 64, "heads": 1, "layers": 2}
    return open_clip.model.CLIP(WIDTH, vision, text, quick_gelu=True).eval()


@pytest.fixture(scope="module")
def file(clip: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file({name: each.contiguous() for name, each in clip.state_dict().items()}, path)
    return path


def image_tower(**more: int) -> nn.Module:
    sizes = {"img_size": SIZE, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1, "num_classes": WIDTH}
    return timm.create_model("vit_base_patch32_clip_quickgelu_224", **{**sizes, **more}).eval()


def test_timms_image_tower_with_a_clip_file_is_open_clips(clip: nn.Module, file: Path) -> None:
    network = image_tower()
    load_weights(network, "a small tower", str(file))
    with torch.inference_mode():
        torch.testing.assert_close(network(images()), clip.encode_image(images()))


def test_the_text_tower_is_open_clips(clip: nn.Module, file: Path) -> None:
    texts = texts_of(["alarm_clock", "cat"], "a photo of a {class}")
    assert texts == ["a photo of a alarm clock", "a photo of a cat"]
    state = read_text_tower(str(file), texts, width=WIDTH)
    found, scale = encode_texts(texts, state, width=WIDTH, quick_gelu=True)
    with torch.inference_mode():
        theirs = clip.encode_text(open_clip.get_tokenizer("ViT-B-32")(texts), normalize=True)
    torch.testing.assert_close(found, theirs)
    assert scale == pytest.approx(clip.logit_scale.exp().item())


def test_a_file_of_another_network_is_refused(clip: nn.Module, file: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadingError, match="does not fit"):
        load_weights(image_tower(depth=3), "a small tower", str(file))
    with pytest.raises(LoadingError, match="does not fit"):  # timm would resample the patches
        load_weights(image_tower(patch_size=16), "a small tower", str(file))
    with pytest.raises(LoadingError, match=f"texts in {WIDTH} numbers and images in 30"):
        read_text_tower(str(file), ["cat"], width=30)


ODD_TOWERS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "no text tower": lambda state: {key: value for key, value in state.items() if key.startswith("visual.")},
    "not built as CLIP's": lambda state: state | {"token_embedding.weight": state["token_embedding.weight"][:320]},
    "is not built as": lambda state: state | {"transformer.resblocks.0.ls_1.gamma": torch.ones(64)},
    "has more than 5 tokens": lambda state: state | {"positional_embedding": state["positional_embedding"][:7]},
}


@pytest.mark.parametrize("reason", ODD_TOWERS)
def test_another_text_tower_is_refused_before_images_are_read(
    reason: str, clip: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No vocabulary of CLIP's, further layers, or fewer places than the text needs; each when the method is built."""
    path = tmp_path / "odd.safetensors"
    save_file({key: value.contiguous() for key, value in ODD_TOWERS[reason](dict(clip.state_dict())).items()}, path)
    monkeypatch.setattr("bench.methods.backbone.architectures.create", lambda name: image_tower())
    monkeypatch.setattr("bench.methods.backbone.backbone.create", lambda name: image_tower())
    run = RunSettings(backbone="vit_base_patch32_clip_quickgelu_224", weights=str(path), image_size=SIZE)
    kind = METHODS.get("clip-prompt")
    context = Context(run, ("a cat that sits", "dog"), Path())
    with pytest.raises(BenchError, match=reason):
        kind(kind.Settings(), context)
    assert kind(kind.Settings(weight_classification=0.0), context).backbone.weights_hash


def test_a_file_without_projection_is_refused(clip: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {key: value.contiguous() for key, value in clip.state_dict().items() if key != "visual.proj"}
    save_file(state, tmp_path / "headless.safetensors")
    monkeypatch.setattr("bench.methods.backbone.backbone.create", lambda name: image_tower())
    kind = METHODS.get("clip-prompt")
    run = RunSettings(backbone="vit_base_patch32_clip_quickgelu_224", weights=str(tmp_path / "headless.safetensors"))
    with pytest.raises(LoadingError, match="lacks the projection"):
        kind(kind.Settings(weight_classification=0.0), Context(run, ("cat", "dog"), Path()))


def test_published_clip_files_are_those_of_open_clip() -> None:
    names = {"vit_base_patch32": "ViT-B-32", "vit_base_patch16": "ViT-B-16", "vit_large_patch14": "ViT-L-14"}
    assert open_clip.constants.HF_SAFE_WEIGHTS_NAME == CLIP_FILE
    for name, repository in CLIP.items():
        model = names[name.partition("_clip")[0]] + ("-336" if name.endswith("336") else "") + "-quickgelu"
        assert open_clip.get_pretrained_cfg(model, "openai")["hf_hub"].strip("/") == repository


def made(name: str, **settings: object) -> Method:
    """A method on a small random transformer."""
    kind = METHODS.get(name)
    run = RunSettings(backbone="test_vit", weights="none", image_size=SIZE)
    return kind(kind.Settings(**settings), Context(run, ("cat", "dog"), Path())).eval()


@pytest.mark.parametrize("towers", ["separate", "shared"])
def test_prompts_are_more_tokens_of_their_domain(towers: str) -> None:
    method = made("clip-prompt", towers=towers)
    network = method.backbone.network
    for photo in (False, True):
        prompts = method.prompts[int(photo)]
        pixels = images() * method.backbone.scale + method.backbone.shift
        tokens = network._pos_embed(network.patch_embed(pixels))
        tokens = torch.cat([tokens, prompts.expand(3, -1, -1)], dim=1)
        for module in (network.norm_pre, *network.blocks, network.norm):
            tokens = module(tokens)
        by_hand = nn.functional.normalize(network.head(network.fc_norm(tokens[:, 0])), dim=1)
        torch.testing.assert_close(method.embed(images(), photo), by_hand)
    plain = made("clip-prompt", towers=towers, prompts=0)
    torch.testing.assert_close(
        plain.embed(images(), is_photo=True), nn.functional.normalize(plain.backbone.logits(images()), dim=1)
    )


def test_a_mixed_batch_goes_through_the_tower_of_each_domain() -> None:
    method, is_photo = made("clip-prompt"), torch.tensor([True, False, True])
    with torch.no_grad():
        for each in method.photo_tower.parameters():
            each.add_(0.1 * torch.randn(each.shape, generator=torch.Generator().manual_seed(1)))
    mixed = method.outputs(Batch(images(), torch.zeros(3, dtype=torch.int64), is_photo))["embedding"]
    for row, photo in enumerate(is_photo.tolist()):
        alone = method.embed(images()[row : row + 1], photo)[0]
        torch.testing.assert_close(nn.functional.normalize(mixed[row], dim=0), alone)


def test_what_clip_prompt_trains() -> None:
    """26 normalisations of 768 scales and shifts, and 3 prompts of 768 numbers a domain (Sketch_LVM)."""
    with torch.device("meta"):
        network = timm.create_model("vit_base_patch32_clip_quickgelu_224")
    freeze_all_but_normalisations(network)
    trained = [each for each in network.parameters() if each.requires_grad]
    assert len(trained) == 52
    assert sum(each.numel() for each in trained) == 26 * 2 * 768
    for projection in (False, True):
        method = made("clip-prompt", projection=projection)
        assert [tuple(each.shape) for each in method.prompts] == [(3, 64), (3, 64)]
        groups = method.parameter_groups()
        trained = [each for each in method.parameters() if each.requires_grad]
        assert {id(each) for each in trained} == {id(each) for group in groups for each in group["params"]}
        towers = (method.backbone, method.photo_tower)
        assert all(tower.network.head.weight.requires_grad == projection for tower in towers)


def test_what_lora_trains_is_12_percent() -> None:
    """CMCA: rank 64 in 12 blocks, twice in the last; "only 12% of the full parameters" (abstract)."""
    with torch.device("meta"):
        network = timm.create_model("vit_base_patch14_dinov2")
        added = LowRankLayers(network, rank=64, domain_blocks=1)
    attention, perceptron = 4 * 2 * 64 * 768, 2 * 64 * (768 + 3072)
    count = sum(each.numel() for each in added.parameters())
    assert count == 13 * (attention + perceptron) == 11_501_568
    assert count / (count + sum(each.numel() for each in network.parameters())) == pytest.approx(0.12, abs=0.005)


def test_low_rank_weights_are_nothing_at_first_and_then_a_sum_of_weights() -> None:
    method = made("lora", rank=4, domain_blocks=2)
    frozen = Backbone("test_vit", "none").eval()
    frozen.load_state_dict(method.backbone.state_dict())
    plain = nn.functional.normalize(frozen(images()), dim=1)
    torch.testing.assert_close(method.embed(images(), is_photo=False), plain)
    for each in method.low_rank.added:
        nn.init.normal_(each.up, std=0.2, generator=torch.Generator().manual_seed(each.up.numel()))
    layers = [
        block.get_submodule(name)
        for block in frozen.network.blocks
        for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    ]
    shared = len(layers) - 2 * 4
    original = {name: value.clone() for name, value in frozen.state_dict().items()}
    for photo in (False, True):
        frozen.load_state_dict(original)
        for number, (layer, each) in enumerate(zip(layers, method.low_rank.added, strict=True)):
            assert each.up.shape[0] == (1 if number < shared else 2)
            domain = int(photo) if number >= shared else 0
            products = [up @ down for up, down in zip(each.up[domain], each.down[domain], strict=True)]
            with torch.no_grad():
                layer.weight += torch.cat(products)
        merged = nn.functional.normalize(frozen(images()), dim=1)
        assert not torch.allclose(merged, plain, atol=1e-3)
        torch.testing.assert_close(method.embed(images(), photo), merged, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "backbone", "reason"),
    [
        *((name, "resnet18", "needs a vision transformer") for name in ("clip-prompt", "lora", "zse-ret")),
        ("zse-ret", "vit_base_patch16_reg4_gap_256", "class token"),
        ("lora", "vit_small_patch16_18x2_224", "needs blocks with"),
        ("clip-prompt", "vit_small_patch14_dinov2", "width of texts"),
    ],
)
def test_a_network_that_does_not_suit_is_refused(name: str, backbone: str, reason: str, resources: Resources) -> None:
    with pytest.raises(UsageError, match=reason):
        resolve(Request(name, "emoji", assignments=(f"backbone={backbone}", "weights=none")), resources)


def test_zse_ret_counts_the_tokens_of_a_network_whose_stem_is_a_resnet() -> None:
    """Its patches of 8 are cut from maps of a 16th of the image, and 3 tokens along a side are an odd number."""
    kind = METHODS.get("zse-ret")
    run = RunSettings(backbone="vit_tiny_r_s16_p8_224", weights="none", image_size=384)
    method = kind(kind.Settings(), Context(run, ("cat", "dog"), Path()))
    batch = Batch(torch.rand(4, 3, 384, 384), torch.tensor([0, 1, 0, 1]), torch.tensor([False, False, True, True]))
    terms = method.losses(method.outputs(batch), batch.labels, batch.is_photo)
    assert all(bool(value.isfinite()) for value in terms.values())


@pytest.mark.parametrize("name", ["clip-prompt", "lora", "zse-ret"])
def test_missing_weights_of_a_methods_own_network_are_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other network stands in."""
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(LoadingError) as caught:
        choose_weights(Request(name, "emoji"))
    assert "bench weights get vit_base_patch" in str(caught.value)
    assert "--backbone" not in str(caught.value)


@pytest.mark.parametrize("names", [("000", "001", "002", "003"), ("1.5", "2 3", "4_5", "-")])
def test_class_names_that_say_nothing_are_refused(names: tuple[str, ...], resources: Resources, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pictures", classes=4, images=1)
    for kind in root.iterdir():
        for number, folder in enumerate(sorted(kind.iterdir())):
            folder.rename(kind / names[number])
    settings = ("backbone=test_vit", "weights=none", "image_size=32", f"root={root}", "draw=1")
    request = Request("clip-prompt", "folder", assignments=settings)
    with pytest.raises(UsageError, match="has no letter"):
        resolve(request, resources)
    without = Request("clip-prompt", "folder", assignments=settings, without=("classification",))
    assert resolve(without, resources).trains


def test_texts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="more than 75 tokens"):
        texts_of(["cat"], "a " * 75 + "{class}")
    with pytest.raises(UsageError, match="where the class name stands"):
        texts_of(["cat"], "a photo")
