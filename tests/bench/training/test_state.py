"""The state of a training, saved and restored to the last bit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import LoadingError
from bench.io import digest_of, write_tensors
from bench.training.state import Checkpoint, TrainingState, load_exactly


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


def state_of(layers: nn.Module, optimiser: torch.optim.Optimizer, path: Path, key: str = "key") -> TrainingState:
    return TrainingState(layers, optimiser, scaler(), 100, 10, checkpoint=Checkpoint(path, key))


class Counting(torch.optim.SGD):
    """Keeps a number for each parameter and one for each group, as some optimisers of timm do."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["calls"] = group.get("calls", 0) + 1
            for each in group["params"]:
                kept = self.state[each]
                kept["drift"] = kept.get("drift", 0.0) + 0.001
                each.data.add_(kept["drift"] * group["calls"])
        return super().step(closure)


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.AdamW, lr=0.1),
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
        partial(torch.optim.NAdam, lr=0.1),
        partial(Counting, lr=0.1, momentum=0.9),
    ],
    ids=["AdamW", "SGD", "NAdam", "Counting"],
)
def test_a_restored_training_ends_with_the_same_bits(
    make: Callable[..., torch.optim.Optimizer], tmp_path: Path
) -> None:
    whole = network(0)
    state = state_of(whole, make(whole.parameters()), tmp_path / "x.safetensors")
    trained(whole, state.optimiser, 0, 3)
    state.step = 2
    state.points, state.earlier = [{"step": 1.0, "loss": 1 / 3}], 50.0
    state.add({"loss": 0.1})
    state.save()
    trained(whole, state.optimiser, 3, 9)

    other = network(1)
    again = state_of(other, make(other.parameters()), tmp_path / "x.safetensors")
    again.restore()
    assert again.step == 3
    assert again.points == state.points
    assert 50 < again.earlier < 60
    trained(other, again.optimiser, 3, 9)
    assert digest_of(dict(other.state_dict())) == digest_of(dict(whole.state_dict()))
    strides = [each.stride() for each in other.parameters()]
    for each in again.optimiser.state.values():
        kept = [value for name, value in each.items() if name in ("exp_avg", "momentum_buffer")]
        assert all(value.stride() in strides for value in kept)


def test_a_checkpoint_of_version_0_1_0_is_resumed(tmp_path: Path) -> None:
    """Written as that version did: without the numbers of groups, and with a mark for an epoch not yet scored."""
    layers = network(0)
    optimiser = torch.optim.AdamW(layers.parameters(), lr=0.1)
    trained(layers, optimiser, 0, 2)
    tensors = {f"method.{name}": tensor for name, tensor in layers.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
    history = {"points": [{"step": 2.0, "loss": 0.5}], "since": [], "seconds": 7.0, "to judge": False}
    facts = {"key": "key", "step": 2, "scaler": {}, "history": history}
    write_tensors(tmp_path / "x.safetensors", tensors, facts)
    trained(layers, optimiser, 2, 5)
    other = network(1)
    again = state_of(other, torch.optim.AdamW(other.parameters(), lr=0.1), tmp_path / "x.safetensors")
    again.restore()
    assert (again.step, again.points, again.earlier) == (2, history["points"], 7.0)
    trained(other, again.optimiser, 2, 5)
    assert digest_of(dict(other.state_dict())) == digest_of(dict(layers.state_dict()))


def test_there_is_nothing_to_restore(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layers = network(0)
    before = digest_of(dict(layers.state_dict()))
    path = tmp_path / "x.safetensors"

    def restored(key: str) -> int:
        state = state_of(layers, torch.optim.Adam(layers.parameters()), path, key)
        state.restore()
        return state.step

    assert restored("key") == 0
    assert caplog.text == ""
    other = network(1)
    state_of(other, torch.optim.Adam(other.parameters()), path, "another key").save()
    with caplog.at_level(logging.WARNING):
        assert restored("key") == 0
    assert "is damaged" in caplog.text
    path.write_bytes(path.read_bytes()[:-7])
    assert restored("another key") == 0
    assert digest_of(dict(layers.state_dict())) == before
    Checkpoint(path, "key").remove()
    Checkpoint(path, "key").remove()
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
        ("extra.scores", {"history": {"points": 3}}),
        ("extra.scores", {"step": "last"}),
    ],
)
def test_a_whole_file_of_another_version_is_an_error(name: str, facts: dict[str, Any], tmp_path: Path) -> None:
    """Its digest is right and so is its key: nothing but the reading shows that it is none of ours."""
    layers = network(0)
    tensors = {f"method.{each}": tensor for each, tensor in layers.state_dict().items()}
    history = {"points": [], "since": [], "seconds": 1.0}
    written = {"key": "key", "step": 3, "scaler": {}, "history": history, **facts}
    write_tensors(tmp_path / "x.safetensors", {**tensors, name: torch.zeros(1)}, written)
    with pytest.raises(LoadingError, match="was written by another version of bench: remove it, or use --no-resume"):
        state_of(layers, torch.optim.Adam(layers.parameters()), tmp_path / "x.safetensors").restore()
