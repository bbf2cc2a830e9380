"""The training loop, checkpoints, choice of the epoch, trained networks, and embedding of images."""
