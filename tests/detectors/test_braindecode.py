"""The adapter for braindecode, on a package that stands in for it, and on the real one."""

import sys
import warnings
from pathlib import Path

import pytest
import torch

from bgb.config.model import BraindecodeConfig
from bgb.detectors.braindecode import BraindecodeNetwork
from bgb.errors import ConfigError
from tests.detectors.catalogue import detector_of, windows

STAND_IN = """
import torch
from torch import nn

class EEGModuleMixin: ...

class EEGNeX(EEGModuleMixin, nn.Module):
    def __init__(self, n_chans, n_outputs, n_times, sfreq, drop_prob=0.5):
        super().__init__()
        self.drop = nn.Dropout(drop_prob)
        self.linear = nn.Linear(n_chans * n_times, n_outputs)

    def forward(self, x):
        return self.linear(self.drop(x.flatten(1)))

class USleep(EEGNeX):
    def forward(self, x):
        return x[:, :2]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an importable folder `braindecode` in the place of the package, if there is one."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "braindecode"]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "braindecode"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "models.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "braindecode", None)
    monkeypatch.delitem(sys.modules, "braindecode")  # what the test imports is gone after it
    monkeypatch.setitem(sys.modules, "braindecode.models", None)
    monkeypatch.delitem(sys.modules, "braindecode.models")
    return folder


def network_of(**options: object) -> BraindecodeNetwork:
    given = {"rate_hz": 64, "window_s": 12, "architecture": "EEGNeX", **options}
    return BraindecodeNetwork(3, **given)  # type: ignore[arg-type]


def test_each_segment_is_judged_by_itself(package: Path) -> None:
    network, signal_BCT = network_of().eval(), torch.randn(2, 3, 12 * 64)
    before_BK = network(signal_BCT)
    assert before_BK.shape == (2, 3)
    signal_BCT[..., 6 * 64] += 5  # lies in the middle of the second segment
    after_BK = network(signal_BCT)
    assert torch.equal(after_BK[:, [0, 2]], before_BK[:, [0, 2]])
    assert (after_BK[:, 1] != before_BK[:, 1]).all()


def test_options_reach_the_architecture(package: Path) -> None:
    network = network_of(options={"drop_prob": 0.25})
    assert network.classifier.drop.p == 0.25
    assert network.training


def test_detector_is_built_from_its_configuration(package: Path) -> None:
    detector = detector_of(BraindecodeConfig(), 12)
    assert detector(*windows(12)).shape == (3, 3)
    assert not detector.is_one_graph


def test_unknown_architecture_is_refused_with_the_nearest(package: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"architecture='EEGNext' is not in braindecode.models; did you mean EEGNeX\? "
        r"choose one of \['EEGNeX', 'USleep'\]",
    ):
        network_of(architecture="EEGNext")


def test_option_that_the_architecture_lacks_is_refused(package: Path) -> None:
    with pytest.raises(ConfigError, match=r"EEGNeX cannot be built with .*'dropp'.*model.options"):
        network_of(options={"dropp": 0.25})


def test_architecture_without_one_logit_a_segment_is_refused(package: Path) -> None:
    with pytest.raises(ConfigError, match=r"USleep is no classifier .* \(1, 2, 256\)"):
        network_of(architecture="USleep")


def test_package_that_is_not_installed_is_named_with_its_extra(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "braindecode", None)
    with pytest.raises(ConfigError, match=r"not installed .*`pip install 'bgb\[braindecode\]'`"):
        network_of()


def test_package_that_does_not_import_is_told_with_the_reason(package: Path) -> None:
    (package / "__init__.py").write_text("raise OSError('Could not load _torchaudio.so')")
    with pytest.raises(
        ConfigError, match=r"does not import \(Could not load _torchaudio.so\).*download.pytorch"
    ):
        network_of()


@pytest.mark.parametrize("architecture", ["EEGNet", "EEGNeX", "ShallowFBCSPNet"])
def test_architectures_of_the_real_package_give_one_logit_a_segment(architecture: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever a foreign package says
        try:
            import braindecode.models  # noqa: F401
        except (ImportError, OSError) as error:
            pytest.skip(f"braindecode does not import here: {error}")
        network = network_of(architecture=architecture, rate_hz=128).eval()
        logits_BK = network(torch.randn(2, 3, 12 * 128))
    assert logits_BK.shape == (2, 3)
