"""`train`: what `bgb.train` does before it scores."""

from pathlib import Path

from bgb.config.schema import TrainConfig
from bgb.training.build import build_data
from bgb.training.fit import fit
from bgb.training.run_folder import RunFolder, open_run


def train(config: TrainConfig) -> RunFolder:
    """Open the run, build the data, fit."""
    with open_run(config) as folder:
        fit(config, folder, build_data(config))
    return folder


def small_words(eeg_folder: Path, results: Path) -> list[str]:
    """Return the overrides of a small run on the patients of `eeg_folder`."""
    return f"""data=bids data.root={eeg_folder}/bids data.cache_root={eeg_folder}/cache
        data.preprocess.rate_hz=128 data.preprocess.lowpass_hz=40 data.preprocess.notch_hz=null
        data.window_s=12 data.batch_size=8 data.sampling.windows_per_epoch=24
        data.sampling.full=0 data.workers=1 model=eegnet model.rate_hz=64
        trainer.accelerator=cpu trainer.max_epochs=2 trainer.log_every_steps=1
        logger=csv results={results}""".split()
