"""Weights files in the forms in circulation: nested, with prefixes, of half precision, with another classifier."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import LoadingError, UsageError
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.backbone.backbone import Backbone
from bench.settings.request import Request

NAME = "test_resnet"
OTHER = {"projection.weight": torch.zeros(2, 2)}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {key: value.contiguous() for key, value in timm.create_model(NAME).state_dict().items()}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda state: prefixed("module.", state), id="DataParallel"),
        pytest.param(lambda state: prefixed("_orig_mod.", state), id="torch.compile"),
        pytest.param(lambda state: {"state_dict": prefixed("module.", state), "epoch": 3}, id="state_dict"),
        pytest.param(lambda state: {"model": {"model_state_dict": state}, "args": {"lr": 0.1}}, id="nested twice"),
        pytest.param(lambda state: prefixed("backbone.", state) | OTHER, id="part of a larger network"),
        pytest.param(lambda state: {"state_dict": prefixed("model.encoder.", state) | OTHER}, id="Lightning"),
        pytest.param(lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, id="fp16"),
        pytest.param(
            lambda state: {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}, id="bf16"
        ),
    ],
)
def test_every_form_gives_the_same_network(
    wrap: Any, state: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = wrap(state)
    torch.save(content, tmp_path / "w.pth")
    files = [tmp_path / "w.pth"]
    if all(isinstance(value, Tensor) for value in content.values()):
        save_file(content, tmp_path / "w.safetensors")
        files.append(tmp_path / "w.safetensors")
    for file in files:
        loaded = Backbone(NAME, str(file)).network.state_dict()
        for key, value in state.items():
            assert torch.allclose(loaded[key].float(), value.float(), rtol=1e-2, atol=1e-5), key
    assert ("projection.weight" in caplog.text) == ("projection.weight" in str(content.keys()) + str(content))


@pytest.mark.parametrize("classes", [365, None])
def test_a_classifier_of_other_classes_is_left_out_and_missed_where_it_is_needed(
    classes: int | None, state: dict[str, Tensor], resources: Resources, tmp_path: Path, caplog: Any
) -> None:
    head = {"fc.weight": torch.ones(classes, 96), "fc.bias": torch.ones(classes)} if classes else {}
    file = tmp_path / "w.pth"
    torch.save({key: value for key, value in state.items() if not key.startswith("fc.")} | head, file)
    with caplog.at_level(logging.WARNING):
        backbone = Backbone(NAME, str(file)).eval()
    assert "w.pth has no classifier of 1000 classes" in caplog.text
    whole = Backbone(NAME, "none")
    whole.network.load_state_dict(state)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(backbone(images), whole.eval()(images))
    with pytest.raises(UsageError, match="has no classifier of ImageNet's 1,000 classes"):
        backbone.logits(images)
    settings = (f"backbone={NAME}", f"weights={file}", "image_size=32", "dim=8", "frozen_blocks=-1")
    for method, more, fits in (
        ("ours", (), False),
        ("ours", ("weight_preservation=0",), True),
        ("sake", ("weight_preservation=0",), True),
        ("sake", ("weight_preservation=0", "initialisation=svd"), False),
        ("softmax", (), True),
    ):
        experiment = resolve(Request(method, "emoji", assignments=(*settings, *more)), resources)
        if fits:
            build(experiment, resources, torch.device("cpu"))
        else:
            with pytest.raises(UsageError, match="has no classifier of ImageNet's 1,000 classes"):
                build(experiment, resources, torch.device("cpu"))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda state: prefixed("student.", state) | prefixed("teacher.", state),
            r"\(student\., teacher\.\): save one",
        ),
        (lambda state: {k: v for k, v in state.items() if k != "conv1.0.weight"}, "does not fit 'test_resnet'"),
        (lambda state: prefixed("backbone.", {k: v for k, v in state.items() if "layer1" not in k}), "does not fit"),
        (lambda state: state | OTHER, r"does not fit 'test_resnet' \(first at projection.weight\)"),
        (lambda state: {"model": state, "args": argparse.Namespace(lr=1)}, r"torch\.save\(model\.state_dict"),
    ],
)
def test_files_that_do_not_fit(wrap: Any, message: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(wrap(state), tmp_path / "w.pth")
    with pytest.raises(LoadingError, match=message):
        Backbone(NAME, str(tmp_path / "w.pth"))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_what_is_refused_is_taken_after_the_conversion_that_the_error_names(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = timm.create_model(NAME).eval()
    network.load_state_dict(state)
    torch.jit.trace(network, torch.zeros(1, 3, 64, 64)).save("traced.pt")
    with pytest.raises(LoadingError, match="TorchScript") as caught:
        Backbone(NAME, "traced.pt")
    (conversion,) = re.findall(r"by (torch\.save\(.*\))\.$", str(caught.value))
    eval(conversion, {"torch": torch})
    loaded = Backbone(NAME, "weights.pth").network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", ["page.pth", "page.safetensors"])
def test_a_web_page_in_place_of_weights_is_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(LoadingError, match=f"{name} .*damaged|{name} cannot be loaded"):
        Backbone(NAME, str(tmp_path / name))
