"""The program to beat: what one writes with Hydra and Lightning; nothing of bgb in it.

A convolutional network of about the parameters of eventnet_unet_small, AdamW, CSV and TensorBoard,
windows of the very cache by `numpy.load`. Says its CPU seconds at the first step, and when it ends.
"""

import sys
import time
from itertools import pairwise
from pathlib import Path

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset


class Windows(Dataset):
    def __init__(self, files: list[Path], window_s: int) -> None:
        self.signals = [np.load(file)["signal"] for file in files]
        self.window_s = window_s
        self.starts = [
            (index, start)
            for index, signal in enumerate(self.signals)
            for start in range(0, len(signal) - window_s + 1, window_s)
        ]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        index, start = self.starts[position]
        tiles = self.signals[index][start : start + self.window_s]
        signal = np.concatenate(tiles, axis=1).astype(np.float32) * 0.1
        return torch.from_numpy(signal), torch.zeros(1)


class Module(pl.LightningModule):
    def __init__(self, config: DictConfig, num_channels: int) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        widths = [num_channels, *config.widths]
        for before, after in pairwise(widths):
            layers += [torch.nn.Conv1d(before, after, 7, stride=4), torch.nn.BatchNorm1d(after)]
            layers += [torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers)
        self.head = torch.nn.Linear(widths[-1], 1)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        signal, label = batch
        logit = self.head(self.layers(signal).mean(dim=2))
        loss = functional.binary_cross_entropy_with_logits(logit, label)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class FirstStep(pl.Callback):
    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == 1:
            sys.stderr.write(f"first step ({time.process_time():.2f} s of CPU)\n")
            sys.stderr.flush()


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    windows = Windows(sorted(Path(config.cache).rglob("train/*.npz")), config.window_s)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=config.max_steps,
        logger=[CSVLogger(config.out), TensorBoardLogger(config.out)],
        callbacks=[FirstStep()],
        default_root_dir=config.out,
    )
    loader = DataLoader(windows, batch_size=config.batch_size, shuffle=True)
    trainer.fit(Module(config, num_channels=19), loader)
    sys.stderr.write("done\n")


if __name__ == "__main__":
    main()
