"""A Hydra program that is not bgb's: square a number, leave a file, report, fail or wait on demand.

Jobs in `wait` go on once the file `gate` exists, so that a test decides when they end.
"""

import logging
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bgb import job

log = logging.getLogger("squares")


class OwnError(Exception):
    """Known to this program only."""


@hydra.main(version_base="1.3", config_path=None, config_name="squares")
def main(config: DictConfig) -> float:
    folder = Path(HydraConfig.get().runtime.output_dir)
    log.info("squaring %s", config.x)
    count = folder / "starts.txt"
    count.write_text(str(int(count.read_text()) + 1) if count.exists() else "1")
    run = Path("/results/runs") / f"run-{config.x}"
    run.mkdir(parents=True, exist_ok=True)
    (run / "model.ckpt").write_bytes(b"weights")
    (run / "metrics.csv").write_text(f"x\n{config.x}\n")
    job.current().add_output(run)
    job.current().progress(epoch=1, max_epochs=2, metric=0.5)
    job.current().publish()
    if config.x in config.fail:
        raise OwnError(f"x={config.x} cannot be squared")
    while config.x in config.wait and not Path(config.gate).exists():
        time.sleep(0.1)
    return float(config.x**2)


def register() -> None:
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store("squares", {"x": 1, "fail": [], "wait": [], "gate": ""})


if __name__ == "__main__":
    register()
    main()
