"""Composing: every option file composes; what is wrong is refused with its name."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from bgb.config.compose import compose, config_dir, dump_config, load_config, parse_config
from bgb.config.data import CORPORA
from bgb.config.model import MODELS, BraindecodeConfig
from bgb.config.schema import COMMANDS, GROUPS
from bgb.errors import ConfigError

OPTION_FILES = sorted(
    path.relative_to(config_dir())
    for path in config_dir().glob("*/*.yaml")
    if path.parent.name != "hydra"
)


@pytest.mark.parametrize("file", OPTION_FILES, ids=str)
def test_every_option_file_composes(file: Path) -> None:
    group, name = file.parent.name, file.stem
    prefix = "+" if group in ("experiment", "infra") else ""
    extra = ["logger.wandb_mode=offline"] if name == "wandb" else []
    assert compose("train", [f"{prefix}{group}={name}", *extra])


@pytest.mark.parametrize(("corpus", "model"), list(itertools.product(CORPORA, MODELS)))
def test_every_corpus_composes_with_every_model(corpus: str, model: str) -> None:
    config = compose("train", [f"data={corpus}", f"model={model}"])
    assert isinstance(config.data.corpus, CORPORA[corpus])
    assert isinstance(config.model, MODELS[model])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_primary_configuration(name: str) -> None:
    assert (config_dir() / f"{name}.yaml").is_file()


@pytest.mark.parametrize(
    "group",
    ["data", "model", "augment", "loss", "trainer", "logger", "postprocess", "experiment"],
)
def test_every_group_has_options(group: str) -> None:
    assert list((config_dir() / group).glob("*.yaml"))
    assert group in {*GROUPS, "model", "experiment"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.windw_s=3", "did you mean data.window_s?"),
        ("+data.windw_s=3", "did you mean data.window_s?"),
        ("lr=3", "did you mean optimizer.lr?"),
        ("+infra=null", "infra=null chooses no option"),
        ("model=null", "model=null chooses no option"),
        ("model.variant=a/b", "model.variant='a/b' must be a plain folder name"),
        ("optimizer.name=sgd", "optimizer.name='sgd' is not valid; choose one of"),
        ("optimizer.beta2=1", "optimizer.beta2=1.0 must be in [0, 1)"),
        ("+nonsense=1", "unknown key 'nonsense'"),
        ("+data.corpus.labels=csv", "unknown key 'data.corpus.labels'"),
        ("data.window_s=-1", "data.window_s=-1 must be above 0"),
        ("data.residency=cloud", "choose one of ['auto', 'device', 'memory', 'disk']"),
        ("postprocess.threshold=1.5", "postprocess.threshold=1.5 must lie between 0 and 1"),
        ("data.preprocess.lowpass_hz=200", "< rate_hz/2=128.0 must hold"),
        ("model.rate_hz=100", "must divide data.preprocess.rate_hz=256"),
        ("data.split.eval_fraction=0.9", "leave no patient for train"),
        ("postprocess.objective=sensitivity", "needs postprocess.max_fp_per_day"),
        ("logger.wandb=true", "needs WANDB_API_KEY"),
        ("run=a/b", "must be a plain folder name"),
        ("data.window_s=20", "receptive field (36 s at 64 Hz); raise data.window_s"),
        ("augment.shift.max_s=1.5", "augment.shift.max_s=1.5 must be above 0 and at most 1"),
        ("augment.noise.probability=2", "augment.noise.probability=2.0 must be in [0, 1]"),
        ("loss.alpha=1", "loss.alpha=1.0 must lie between 0 and 1, or be null"),
        ("loss.gamma=-1", "loss.gamma=-1.0 must not be negative"),
        ("trainer.monitor=val/auc", "choose one of ['val/auroc', "),
    ],
)
def test_bad_override_is_refused_with_its_name(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose("train", [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["loss.alpha=0.25"], ["data.sampling.natural=false", "loss.alpha=0.25"]),
        (["loss.pos_weight=3"], ["data.sampling.natural=true or loss.pos_weight=null"]),
        (["loss=focal", "loss.alpha=0.25"], ["data.sampling.natural=true or loss.alpha=null"]),
        (
            ["data.sampling.natural=true", "loss.alpha=0.25", "loss.pos_weight=3"],
            ["loss.alpha=0.25 and loss.pos_weight=3.0", "set loss.alpha=null or"],
        ),
    ],
)
def test_two_corrections_of_imbalance_are_refused(overrides: list[str], named: list[str]) -> None:
    # Lesson 15: balanced windows and a weighted loss multiply, and the detector collapses.
    with pytest.raises(ConfigError) as caught:
        compose("train", overrides)
    assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=focal"],  # gamma weighs hard against easy steps, no class
        ["data.sampling.natural=true"],
        ["data.sampling.natural=true", "loss.pos_weight=3"],
        ["data.sampling.natural=true", "loss=focal", "loss.alpha=0.25"],
    ],
)
def test_one_correction_of_imbalance_or_none_composes(overrides: list[str]) -> None:
    assert compose("train", overrides)


def test_electrodes_are_not_dropped_where_missing_ones_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dropout.probability=0.3 .*frontend.missing=refuse"):
        compose("train", ["augment=standard", "frontend.missing=refuse"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["frontend.normalise=window"], "needs frontend.normalise=fixed"),
        (
            ["model.rate_hz=128"],
            "needs the rate of the cache: lowering 256 Hz",
        ),
    ],
)
def test_causal_detector_whose_frontend_looks_ahead_is_refused(words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        compose("train", ["model=spectral_ssm_causal", *words])
    compose("train", ["model=spectral_ssm", "model.rate_hz=128", "frontend.normalise=window"])


def test_augmentation_that_mixes_context_into_what_is_judged_is_refused() -> None:
    words = ["model=lookaround", "augment.surrogate.probability=0.5"]
    with pytest.raises(ConfigError, match=r"surrogate.probability=0.5 would mix the context"):
        compose("train", words)


def test_window_is_that_of_the_detector_unless_told() -> None:
    assert compose("train", ["model=deepsoz"]).data.window_s == 600
    assert compose("train", ["model=deepsoz", "data.window_s=120"]).data.window_s == 120
    with pytest.raises(ConfigError, match=r"data.window_s=90 .* after 64 s of context; choose 96"):
        compose("train", ["model=lookaround", "data.window_s=90"])


def test_window_that_segments_do_not_fill_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"window_s=10 is not a multiple of the 4 s.*choose 8"):
        compose("train", ["model=eegnet", "data.window_s=10"])


def test_wrong_type_names_the_key() -> None:
    with pytest.raises(HydraException, match=r"data\.window_s"):
        compose("train", ["data.window_s=long"])


def test_missing_required_key_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match="run must be given: run=<run folder to score>"):
        compose("evaluate")


def test_scores_of_the_run_itself_are_never_overwritten_by_another_evaluation() -> None:
    with pytest.raises(ConfigError, match="set out=<folder>"):
        compose("evaluate", ["run=x", "+data=chbmit"])


def test_configuration_survives_writing_and_reading(tmp_path: Path) -> None:
    config = compose("train", ["data=tusz", "model=eegnet", "data.exclude=[a,b]", "run=x"])
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config


def test_options_of_a_foreign_architecture_are_free(tmp_path: Path) -> None:
    config = compose("train", ["model=braindecode", "+model.options.drop_prob=0.25"])
    assert isinstance(config.model, BraindecodeConfig)
    assert config.model.options == {"drop_prob": 0.25}
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    "overrides",
    [["model=braindecode", "+model.optins.drop_prob=0.25"], ["+model.options.drop_prob=0.25"]],
)
def test_options_of_no_architecture_are_refused(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'model.opti"):
        compose("train", overrides)


def test_configuration_of_another_version_is_refused(tmp_path: Path) -> None:
    text = dump_config(compose("train")).replace("eventnet_unet", "transformer_of_tomorrow")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="does not fit this version of bgb"):
        load_config(tmp_path / "config.yaml")


def test_wandb_key_is_seen_but_never_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret-value-of-the-key")
    config = compose("train", ["logger=wandb"])
    assert config.logger.wandb_key_set
    assert "secret-value-of-the-key" not in dump_config(config)


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("0", False)])
def test_environment_enters_through_the_configuration(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: bool
) -> None:
    monkeypatch.setenv("BGB_DISABLE_TQDM", value)
    monkeypatch.setenv("BGB_DATA", "/somewhere")
    config = compose("train", ["data=tusz"])
    assert config.disable_progress is expected
    assert config.data.root == "/somewhere/tusz"


def test_cfg_job_prints_yaml_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bgb.train", "--cfg", "job", "data=siena"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert OmegaConf.create(done.stdout).data.corpus.name == "siena"
    assert not list(tmp_path.iterdir()), "--cfg job must write nothing"


def test_typo_fails_fast_plainly_and_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, bgb.train\n"
        "sys.argv = ['train', 'modle=eegnet']\n"
        "try:\n    bgb.train.main()\n"
        "except SystemExit as stop:\n    print(stop.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "False"]
    assert "unknown key 'modle'; did you mean model?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_names_groups_options_and_where_keys_are_explained(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"bgb.{command}", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"python -m bgb.{command}" in done.stdout
    assert "bids, chbmit, siena, synthetic, tusz" in done.stdout
    assert "python -m bgb.config" in done.stdout


def test_configuration_of_an_earlier_version_is_read_without_the_keys_that_went() -> None:
    text = dump_config(compose("train")).replace("trainer:\n", "trainer:\n  monitor_mode: max\n")
    assert "monitor_mode" in text
    assert parse_config(text, source="old") == compose("train")
