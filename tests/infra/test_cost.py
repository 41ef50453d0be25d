"""Prices and the upper bound: arithmetic against numbers worked out by hand, refusal, fallback."""

import dataclasses
import logging
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from bgb.config.infra import GPUS, InfraConfig
from bgb.errors import InfraError
from bgb.infra.cost import check_budget, dollars, upper_bound
from bgb.infra.prices import TABLE, Rates, load_rates, usd_per_hour

RATES = Rates("table of a test", {"L4": 0.001}, 0.0001, 0.00001)  # $3.60, $0.36, $0.036 an hour
L4 = InfraConfig(gpu="L4", cpu=2, memory_gib=10, max_hours=5, max_cost_usd=100)
# As `modal billing rates --json` prints them: dollars an hour.
ANSWER = {
    "cpu_hour_cost": "0.0473",
    "mem_gib_hour_cost": "0.008",
    "gpu_hour_cost_t4": "0.59",
    "gpu_hour_cost_l4": "0.80",
    "gpu_hour_cost_a10g": "1.10",
    "gpu_hour_cost_l40s": "1.95",
    "gpu_hour_cost_a100_40gb": "2.10",
    "gpu_hour_cost_a100_80gb": "2.50",
    "gpu_hour_cost_rtx6000": "3.03",
    "gpu_hour_cost_h100": "3.95",
    "gpu_hour_cost_h200": "4.54",
    "gpu_hour_cost_b200": "6.25",
}


def test_hour_of_a_machine_is_gpu_and_cores_and_memory() -> None:
    assert usd_per_hour(L4, RATES) == pytest.approx(3.6 + 2 * 0.36 + 10 * 0.036)


def test_several_gpus_are_paid_one_by_one() -> None:
    two = dataclasses.replace(L4, gpu="L4:2")
    assert usd_per_hour(two, RATES) - usd_per_hour(L4, RATES) == pytest.approx(3.6)


def test_machine_without_gpu_pays_for_none() -> None:
    cpu = dataclasses.replace(L4, gpu=None)
    assert usd_per_hour(cpu, RATES) == pytest.approx(2 * 0.36 + 10 * 0.036)


def test_pinned_region_costs_more() -> None:
    pinned = dataclasses.replace(L4, region="eu-west")
    assert usd_per_hour(pinned, RATES) == pytest.approx(1.75 * usd_per_hour(L4, RATES))


def test_gpu_without_price_is_named_with_those_that_have_one() -> None:
    with pytest.raises(InfraError, match=r"infra.gpu=T4: table of a test has no price for T4.*L4"):
        usd_per_hour(dataclasses.replace(L4, gpu="T4"), RATES)


@pytest.mark.parametrize("gpu", GPUS)
def test_every_gpu_that_may_be_configured_has_a_price(gpu: str) -> None:
    assert usd_per_hour(InfraConfig(gpu=gpu), TABLE) > usd_per_hour(InfraConfig(), TABLE)


def test_bound_is_jobs_times_hours_and_the_time_to_stop_times_rate() -> None:
    bound = upper_bound(L4, 3, RATES)
    assert bound.usd == pytest.approx(3 * 5.25 * 4.68)
    assert bound.text() == (
        "3 jobs x at most 5.25 h x $4.68/h (L4, 2 cores, 10 GiB) = at most $73.71 "
        "(rates: table of a test)"
    )


def test_bound_within_the_limit_is_accepted_to_the_cent() -> None:
    bound = upper_bound(L4, 1, RATES)
    check_budget(bound, dataclasses.replace(L4, max_cost_usd=bound.usd))


def test_bound_above_the_limit_is_refused_with_three_ways_out_that_work() -> None:
    with pytest.raises(InfraError) as refusal:
        check_budget(upper_bound(L4, 5, RATES), L4)
    text = str(refusal.value)
    assert "at most $122.85" in text
    assert "infra.max_cost_usd=100" in text
    assert "fewer jobs (4 fit)" in text
    assert "infra.max_hours=5 (4.02 fit)" in text
    check_budget(upper_bound(L4, 4, RATES), L4)
    shorter = dataclasses.replace(L4, max_hours=4.02)
    check_budget(upper_bound(shorter, 5, RATES), shorter)


def test_other_dollars_count_against_the_limit_and_are_named() -> None:
    bound = upper_bound(L4, 2, RATES)  # $49.14
    check_budget(bound, L4, besides={"for jobs that run": 50.0})
    with pytest.raises(InfraError, match=r"at most \$49\.14 .*, and \$51\.00 for jobs that run"):
        check_budget(bound, L4, besides={"spent": 0.0, "for jobs that run": 51.0})


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, "$0.00"), (0.00123, "$0.0012"), (0.0456, "$0.046"), (1234.5, "$1,234.50")],
)
def test_small_amounts_keep_digits_that_matter(usd: float, text: str) -> None:
    assert dollars(usd) == text


def test_rates_of_the_workspace_are_read_from_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, ANSWER)
    rates = load_rates()
    assert rates.source.startswith("live, 20")
    assert "table" not in rates.source
    assert set(rates.gpu_usd_per_s) == set(TABLE.gpu_usd_per_s)
    a100 = InfraConfig(gpu="A100-80GB", cpu=8, memory_gib=64)
    assert usd_per_hour(a100, rates) == pytest.approx(2.50 + 8 * 0.0473 + 64 * 0.008)


def test_table_agrees_with_the_rates_of_a_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, ANSWER)
    live = load_rates()
    for gpu in TABLE.gpu_usd_per_s:
        infra = InfraConfig(gpu=gpu, cpu=8, memory_gib=64)
        assert usd_per_hour(infra, TABLE) == pytest.approx(usd_per_hour(infra, live), rel=0.01)


def test_rate_that_modal_does_not_tell_comes_from_the_table_aloud(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer(monkeypatch, {key: value for key, value in ANSWER.items() if not key.endswith("_h100")})
    with caplog.at_level(logging.WARNING):
        rates = load_rates()
    assert rates.gpu_usd_per_s["H100"] == TABLE.gpu_usd_per_s["H100"]
    assert rates.source.endswith("(H100: table of 2026-08-10)")
    assert "Modal told no rate of ['H100']" in caplog.text


def test_modal_that_does_not_answer_leaves_the_dated_table_aloud(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import modal

    def refuse() -> Mapping[str, str]:
        raise modal.exception.AuthError("Token missing.\nMore text")

    replace_workspace(monkeypatch, refuse)
    with caplog.at_level(logging.WARNING):
        rates = load_rates()
    assert rates is TABLE
    assert "did not tell its rates (Token missing.): prices of the table of 2026" in caplog.text


def test_table_is_taken_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> Mapping[str, str]:
        raise AssertionError("Modal was asked")

    replace_workspace(monkeypatch, ask)
    assert load_rates(live=False) is TABLE


def answer(monkeypatch: pytest.MonkeyPatch, rates: Mapping[str, str]) -> None:
    replace_workspace(monkeypatch, lambda: rates)


def replace_workspace(monkeypatch: pytest.MonkeyPatch, rates) -> None:
    import modal

    workspace = SimpleNamespace(billing=SimpleNamespace(rates=rates))
    monkeypatch.setattr(modal.Workspace, "from_context", lambda: workspace)
