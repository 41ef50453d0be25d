"""docs/modal.md says what the options really are and cost."""

import re
from pathlib import Path

import pytest

from bgb.config.compose import compose, config_dir
from bgb.infra.prices import load_rates, usd_per_hour

PAGE = (Path(__file__).parents[2] / "docs" / "modal.md").read_text()
OPTIONS = sorted(path.stem for path in (config_dir() / "infra").glob("*.yaml"))


@pytest.mark.parametrize("option", OPTIONS)
def test_table_of_the_docs_holds_hours_and_price(option: str) -> None:
    infra = compose("train", [f"+infra={option}"]).infra
    row = re.search(rf"^\| `{option}` \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert row is not None
    hours, usd = float(row[2]), float(row[3])
    assert hours == infra.max_hours
    assert usd == pytest.approx(usd_per_hour(infra, load_rates(live=False)), abs=0.005)
    assert f"{infra.cpu:g} cores, {infra.memory_gib:g} GiB" in row[1]
