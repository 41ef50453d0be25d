"""`train`: what `bgb.train` does before it scores."""

from bgb.config.schema import TrainConfig
from bgb.training.fit import build_data, fit
from bgb.training.run_folder import RunFolder, open_run


def train(config: TrainConfig) -> RunFolder:
    """Open the run, build the data, fit."""
    with open_run(config) as folder:
        fit(config, folder, build_data(config))
    return folder
