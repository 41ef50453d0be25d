"""On a GPU: steps with fused AdamW, bf16 and a compiled detector repeat, and broken ones replay."""

import pytest
import pytorch_lightning as pl
import torch

from bgb.config.data import SamplingConfig
from bgb.config.model import EegNetConfig, FrontendConfig
from bgb.data.cache import open_cache
from bgb.data.key import cache_folder
from bgb.data.loader import WindowLoader
from bgb.detectors import build_detector
from bgb.errors import RunError
from bgb.training.lightning import quiet_lightning
from bgb.training.module import Schedule, SeizureModule
from bgb.training.nonfinite import NonfinitePolicy

WINDOW_S, BATCH_SIZE = 8, 6
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deterministic")


@pytest.fixture
def train(gpu_config, tmp_path):
    def run(*, compiled=False, precision="bf16-mixed", broken=False, **policy):
        pl.seed_everything(0, verbose=False)
        recordings = open_cache(cache_folder(gpu_config)).split("train")
        detector = build_detector(
            EegNetConfig(rate_hz=64), FrontendConfig(), recordings[0].spec, window_s=WINDOW_S
        )
        if broken:
            with torch.no_grad():
                detector.network.head.bias.fill_(float("nan"))
        module = SeizureModule(
            detector, lr=1e-3, weight_decay=0.01, schedule=Schedule(0.1, 0.1), gradient_clip=1.0,
            compiled_size=BATCH_SIZE if compiled else 0,
            nonfinite=NonfinitePolicy(folder=tmp_path, **policy),
        )  # fmt: skip
        loader = WindowLoader(
            recordings, SamplingConfig(windows_per_epoch=20), window_s=WINDOW_S,
            batch_size=BATCH_SIZE, label_rate_hz=0.25, seed=0, device=torch.device("cuda", 0),
        )  # fmt: skip
        with quiet_lightning():
            trainer = pl.Trainer(
                accelerator="gpu", devices=1, precision=precision, max_epochs=2, logger=False,
                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                deterministic=True,
            )  # fmt: skip
            try:
                trainer.fit(module, train_dataloaders=loader)
            finally:
                torch.use_deterministic_algorithms(False)
        return module, trainer

    return run


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("compiled", [False, True])
def test_steps_repeat_bit_for_bit(train, precision, compiled):
    first, trainer = train(compiled=compiled, precision=precision)
    second, _ = train(compiled=compiled, precision=precision)
    assert trainer.global_step == 8
    assert trainer.optimizers[0].param_groups[0]["fused"]
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert one.isfinite().all() and torch.equal(one, other)


def test_step_that_is_not_finite_is_kept_with_the_generators_of_the_gpu(train, tmp_path):
    with pytest.raises(RunError, match=r"first not finite: weight network.head.bias"):
        train(broken=True)
    kept = torch.load(tmp_path / "step-0.pt", weights_only=True)
    assert kept["random"].keys() == {"cpu", "cuda"}


def test_batches_are_left_out_on_the_gpu(train):
    _, trainer = train(broken=True, skip=True, budget=8)
    assert trainer.global_step == 0
