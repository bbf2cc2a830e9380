"""The state of a training, put away and put back to the last bit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import LoadingError
from bench.io import digest_of, write_tensors
from bench.training.checkpoints import Checkpoints, load_exactly


def network(seed: int, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 36, 2))
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def trained(layers: nn.Module, optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        layers(images).square().mean().backward()
        optimiser.step()


def scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=False)


def test_a_training_that_is_put_away_and_back_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = network(0)
    optimiser = torch.optim.AdamW(whole.parameters(), lr=0.1)
    checkpoints = Checkpoints(tmp_path / "x.safetensors", "key")
    trained(whole, optimiser, 0, 3)
    state = {"points": [{"step": 1.0, "loss": 1 / 3}], "since": [{"loss": 0.1}]}
    checkpoints.save(3, whole, optimiser, scaler(), state, {"scores": torch.tensor([0.5])})
    trained(whole, optimiser, 3, 9)

    other = network(1)
    again = torch.optim.AdamW(other.parameters(), lr=0.1)
    step, history, extra = checkpoints.restore(other, again, scaler())
    assert (step, history) == (3, state)
    assert torch.equal(extra["scores"], torch.tensor([0.5]))
    trained(other, again, 3, 9)
    assert digest_of(dict(other.state_dict())) == digest_of(dict(whole.state_dict()))
    averages: list[Tensor] = [again.state[each]["exp_avg"] for each in other.parameters()]
    assert [each.stride() for each in averages] == [each.stride() for each in other.parameters()]


def test_there_is_nothing_to_restore(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layers = network(0)
    before = digest_of(dict(layers.state_dict()))
    optimiser = torch.optim.Adam(layers.parameters())
    path = tmp_path / "x.safetensors"
    assert Checkpoints(path, "key").restore(layers, optimiser, scaler()) == (0, {}, {})
    assert caplog.text == ""
    Checkpoints(path, "another key").save(3, network(1), optimiser, scaler(), {})
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(path, "key").restore(layers, optimiser, scaler()) == (0, {}, {})
    assert "the training starts anew" in caplog.text
    path.write_bytes(path.read_bytes()[:-7])
    assert Checkpoints(path, "another key").restore(layers, optimiser, scaler()) == (0, {}, {})
    assert digest_of(dict(layers.state_dict())) == before
    Checkpoints(path, "key").remove()
    Checkpoints(path, "key").remove()
    assert not path.exists()


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"weight": torch.zeros(2, 3)}, "bias"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, "weight"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)}, "more"),
    ],
)
def test_nothing_is_loaded_as_far_as_it_happens_to_fit(state: dict[str, Tensor], named: str) -> None:
    layer = nn.Linear(3, 2)
    before = digest_of(dict(layer.state_dict()))
    with pytest.raises(LoadingError, match=rf"x\.safetensors does not fit this network \(first at {named}\)"):
        load_exactly(layer, state, Path("x.safetensors"))
    assert digest_of(dict(layer.state_dict())) == before


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("strange.weight", {}),
        ("optimiser.99.exp_avg", {}),
        ("optimiser.first.exp_avg", {}),
        ("extra.scores", {"history": 3}),
        ("extra.scores", {"step": "last"}),
    ],
)
def test_a_whole_file_that_another_version_wrote_is_told_of(name: str, facts: dict[str, Any], tmp_path: Path) -> None:
    """Its digest is right and so is its key: nothing but the reading shows that it is none of ours."""
    layers = network(0)
    optimiser = torch.optim.Adam(layers.parameters())
    tensors = {f"method.{each}": tensor for each, tensor in layers.state_dict().items()}
    written = {"key": "key", "step": 3, "scaler": {}, "history": {}, **facts}
    write_tensors(tmp_path / "x.safetensors", {**tensors, name: torch.zeros(1)}, written)
    with pytest.raises(LoadingError, match="was written by another version of bench: remove it, or use --no-resume"):
        Checkpoints(tmp_path / "x.safetensors", "key").restore(layers, optimiser, scaler())
