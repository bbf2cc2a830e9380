"""The online teacher: the network as it was before training, and no part of the method."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.backbone.backbone import PACKAGED, Backbone
from bench.methods.base import TrainingPhotos
from bench.methods.modules.teacher import Teacher
from bench.settings.request import Request
from bench.types import Batch

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_a_teacher_keeps_what_its_student_knew() -> None:
    student = Backbone(PACKAGED).eval()
    teacher = Teacher(student, PACKAGED)
    with torch.no_grad():
        before = student.classify(student(IMAGES))
        for each in student.parameters():
            each.mul_(1.01)
        after = student.classify(student(IMAGES))
    assert torch.allclose(teacher.logits(IMAGES), before, atol=1e-4)
    assert not torch.allclose(after, before, atol=1e-2)
    assert not teacher.logits(IMAGES).requires_grad
    assert not any(each.requires_grad for each in teacher.network.parameters())


def test_making_a_teacher_draws_nothing() -> None:
    student = Backbone("resnet18", "none")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Teacher(student, "resnet18")
    assert torch.equal(torch.rand(3), expected)


def test_the_online_teacher_is_no_part_of_the_network_and_teaches_photos_only(resources: Resources) -> None:
    request = Request("ours", "emoji", structural="online-teacher", assignments=("image_size=32",))
    method = build(resolve(request, resources), resources, torch.device("cpu"))
    names = set(method.state_dict())
    method.prepare(TrainingPhotos(not_to_be_called, torch.empty(0, dtype=torch.int64), (), "none"))
    assert set(method.state_dict()) == names
    looked: list[int] = []
    logits = method.teacher.logits

    def counted(images: torch.Tensor) -> torch.Tensor:
        looked.append(len(images))
        return logits(images)

    method.teacher.logits = counted
    is_photo = torch.tensor([False, True, True, True])
    labels = torch.tensor([0, 0, 1, 2])
    outputs = method.outputs(Batch(IMAGES, labels, is_photo))
    terms = method.losses(outputs, labels, is_photo)
    assert outputs["teacher"].shape == (4, 1000)
    assert looked == [4]  # every image, as in the published code of SAKE
    assert not hasattr(method, "knowledge")
    embedding = method.project(IMAGES, is_photo)
    log_shares = torch.log_softmax(method.semantic_head(embedding), dim=1)[is_photo]
    expected = -(torch.softmax(logits(IMAGES)[is_photo], dim=1) * log_shares).sum(dim=1).mean()
    assert terms["preservation"].item() == torch.as_tensor(expected).item()


def not_to_be_called(function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    raise AssertionError("an online teacher prepares nothing from the training photos")
