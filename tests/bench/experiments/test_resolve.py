"""What a run begins with: the default weights of this machine, and what is refused before a run is entered."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import LoadingError, UsageError
from bench.experiments.experiment import Resources
from bench.experiments.resolve import choose_weights, resolve
from bench.methods.backbone import published_weights
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import PACKAGED, Published
from bench.settings.request import Request
from bench.settings.run_settings import RunSettings
from tests.pictures import write_folder


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    """A run on a dataset whose default is ResNet50."""
    root = write_folder(tmp_path / "pictures", classes=6, images=2)
    return Request("imagenet", "folder", assignments=(f"root={root}", "draw=2", "image_size=32"))


def with_settings(request: Request, *more: str) -> Request:
    return replace(request, assignments=(*request.assignments, *more))


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file where torch keeps weights, which goes for ResNet50's."""
    content = b"as good as weights, until they are loaded" * 100
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path = tmp_path / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(published_weights, "PUBLISHED", {"resnet50": (Published(name, len(content) / 2**20),)})
    return path


def test_without_weights_the_default_gives_way_and_says_so(asked: Request, resources: Resources) -> None:
    request, said = choose_weights(asked)
    assert f"backbone={PACKAGED}" in request.assignments
    assert "BENCH_OFFLINE forbids it" in said
    assert "put torchvision's resnet50-0676ba61.pth into" in said
    assert choose_weights(request) == (request, "")
    found = resolve(asked, resources)
    assert found.identity["configuration"]["run"]["backbone"] == PACKAGED
    assert "no weights of resnet50" in found.title
    assert resolve(found.request, resources).key == found.key
    named = resolve(with_settings(asked, f"backbone={PACKAGED}"), resources)
    assert named.key != found.key  # whoever names the backbone gets figures without the warning


def test_the_default_file_is_taken_and_its_content_is_in_the_key(
    asked: Request, fetched: Path, resources: Resources
) -> None:
    request, said = choose_weights(asked)
    assert (request.assignments[-1], said) == (f"weights={fetched}", "")
    found = resolve(asked, resources)
    digest = hashlib.sha256(fetched.read_bytes()).hexdigest()
    assert found.run.backbone == "resnet50"
    assert found.identity["configuration"]["run"]["weights"] == f"sha256:{digest}"
    assert found.key == resolve(with_settings(asked, "backbone=resnet50", f"weights={fetched}"), resources).key
    fetched.write_bytes(fetched.read_bytes()[:9])
    with pytest.raises(LoadingError, match="is truncated"):
        resolve(asked, resources)


def test_a_backbone_that_was_asked_for_never_gives_way(asked: Request, resources: Resources) -> None:
    with pytest.raises(LoadingError, match=r"No ImageNet weights of 'resnet50' are on this machine .*: run `bench"):
        resolve(with_settings(asked, "backbone=resnet50"), resources)
    with pytest.raises(LoadingError, match=r"No ImageNet weights of 'convnext_atto' are on this machine .*: run"):
        resolve(with_settings(asked, "backbone=convnext_atto"), resources)
    assert resolve(with_settings(asked, "weights=none"), resources).run.backbone == "resnet50"


def test_a_method_without_a_network_needs_no_weights(asked: Request, resources: Resources) -> None:
    request = replace(asked, method="hog")
    assert choose_weights(request) == (request, "")
    assert resolve(request, resources).run.backbone == "resnet50"


def test_a_weights_file_that_is_not_what_its_name_says_is_refused(
    asked: Request, resources: Resources, tmp_path: Path
) -> None:
    path = tmp_path / "mine-00000000.safetensors"
    path.write_bytes(b"x")
    with pytest.raises(LoadingError, match="does not have the hash in its name"):
        resolve(with_settings(asked, f"weights={path}"), resources)


def test_without_a_word_networks_are_trained_end_to_end(tmp_path: Path) -> None:
    root = write_folder(tmp_path, classes=3, images=2)
    asked = Request("softmax", "folder", assignments=(f"root={root}", "draw=1", "weights=none"))
    assert resolve(asked, Resources(tmp_path, tmp_path)).run.frozen_blocks == -1
    network = Backbone(RunSettings.backbone, "none", frozen_blocks=RunSettings.frozen_blocks)
    assert all(each.requires_grad for each in network.parameters())


def test_a_recipe_freezes_blocks_of_its_own_backbone_alone(resources: Resources) -> None:
    def frozen(*assignments: str) -> int:
        return resolve(Request("softmax", "emoji", assignments=assignments), resources).run.frozen_blocks

    assert frozen() == frozen(f"backbone={PACKAGED}") == 5
    assert frozen("backbone=resnet18", "weights=none") == -1
    assert frozen("backbone=resnet18", "weights=none", "frozen_blocks=3") == 3


@pytest.mark.parametrize(
    ("method", "assignments", "message"),
    [
        ("imagenet", ("backbone=levit_128s", "weights=none"), "does not take images of 96 pixels: give --image-size 2"),
        ("softmax", ("backbone=resnet18", "weights=none", "frozen_blocks=9"), "this backbone has 8 blocks"),
        ("ours", ("backbone=vit_small_patch16_dinov3", "weights=none"), "by --without preservation"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    method: str, assignments: tuple[str, ...], message: str, resources: Resources
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Request(method, "emoji", assignments=assignments), resources)
    assert message in str(caught.value)


def test_what_a_method_does_not_use_is_not_asked_of_the_network(resources: Resources) -> None:
    assignments = ("backbone=vit_small_patch16_dinov3", "weights=none", "frozen_blocks=99")
    assert resolve(Request("imagenet", "emoji", assignments=assignments), resources)
    assert resolve(Request("ours", "emoji", assignments=assignments[:2], without=("preservation",)), resources)


def test_a_file_of_weights_is_found_by_its_hash(asked: Request, fetched: Path) -> None:
    digest = f"sha256:{hashlib.sha256(fetched.read_bytes()).hexdigest()}"
    request, _ = choose_weights(with_settings(asked, f"weights={digest}"))
    assert request.assignments[-1] == f"weights={fetched}"
    with pytest.raises(LoadingError, match="name it by --weights"):
        choose_weights(with_settings(asked, f"weights=sha256:{'0' * 64}"))
