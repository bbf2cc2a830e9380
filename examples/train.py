"""Train a plain PyTorch network on seen classes, and score it on the unseen ones after every epoch."""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import bench
from bench.methods.backbone.backbone import Backbone


def train(split: bench.LoadedSplit, epochs: int, size: int = 96) -> list[bench.Evaluation]:
    """The results before training and after each epoch."""
    resize = v2.Compose([v2.PILToTensor(), v2.Resize((size, size)), v2.ToDtype(torch.float32, scale=True)])
    images = {role: DataLoader(split.torch_dataset(role, resize), 64) for role in ("queries", "gallery")}
    batches = DataLoader(split.torch_dataset("train", resize), 64, shuffle=True)
    network = Backbone("tf_efficientnet_lite0", frozen_blocks=5)  # with ImageNet weights; any torch module will do
    head = torch.nn.Linear(network.width, len(split.seen))
    optimiser = torch.optim.AdamW([*network.trainable(), *head.parameters()], lr=3e-4)
    results = []
    for epoch in range(epochs + 1):
        for pixels, labels in batches if epoch else ():
            loss = F.cross_entropy(head(network.train()(pixels)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        sides = [[(network.eval()(pixels).detach(), labels) for pixels, labels in images[role]] for role in images]
        (query, query_labels), (gallery, gallery_labels) = (map(torch.cat, zip(*side, strict=True)) for side in sides)
        results.append(bench.evaluate(query, gallery, query_labels, gallery_labels))
        print(epoch, results[-1])
    return results


if __name__ == "__main__":
    torch.manual_seed(0)
    train(bench.load_split("emoji"), epochs=4)
