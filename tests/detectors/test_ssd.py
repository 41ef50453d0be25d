"""SSD in chunks is the recurrence of Mamba-2, forwards and backwards."""

# Shapes: B batch, T steps, H heads, P features of a head, G groups, N features of the state

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bgb.detectors.ssd import scan_of, ssd
from bgb.errors import ConfigError
from tests.detectors.recurrence import Inputs, as_float32, inputs, recurrence


def chunked(values: Inputs, chunk: int) -> tuple[Tensor, Tensor]:
    *signals, state_BHPN = values
    return ssd(*signals, chunk=chunk, state_BHPN=state_BHPN)  # type: ignore[misc]


def error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def leaves(values: Inputs) -> list[Tensor]:
    return [each.clone().requires_grad_() for each in values]


@pytest.mark.parametrize("num_steps", [1, 7, 64, 65, 200, 960])
@pytest.mark.parametrize("chunk", [16, 64, 128])
def test_chunks_give_the_recurrence(num_steps: int, chunk: int) -> None:
    values = inputs(num_steps)
    y_BTHP, last_BHPN = recurrence(*values)
    for found, tolerance in (
        (chunked(values, chunk), 1e-13),
        (chunked(as_float32(values), chunk), 1e-5),
    ):
        assert error(found[0], y_BTHP) < tolerance
        assert error(found[1], last_BHPN) < tolerance


def test_result_does_not_depend_on_the_chunk() -> None:
    values = inputs(100)
    first, *others = (chunked(values, chunk) for chunk in (1, 3, 32, 100, 1000))
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-12, atol=1e-12)


def test_no_state_is_a_state_of_zeros() -> None:
    *signals, state_BHPN = inputs(20)
    expected = ssd(*signals, chunk=8, state_BHPN=torch.zeros_like(state_BHPN))  # type: ignore[misc]
    torch.testing.assert_close(ssd(*signals, chunk=8), expected)  # type: ignore[misc]


@pytest.mark.parametrize("chunk", [4, 16])
def test_gradients_are_those_of_finite_differences(chunk: int) -> None:
    values = leaves(inputs(7, batch=1, heads=2, features=2))
    run: Callable[..., Any] = lambda *each: chunked(each, chunk)  # type: ignore[arg-type]  # noqa: E731
    assert torch.autograd.gradcheck(run, values)


@pytest.mark.parametrize(("num_steps", "chunk"), [(65, 16), (200, 64)])
def test_gradients_are_those_of_the_recurrence(num_steps: int, chunk: int) -> None:
    values = inputs(num_steps)
    exact, single = leaves(values), leaves(as_float32(values))
    for outputs in (recurrence(*exact), chunked(tuple(single), chunk)):  # type: ignore[arg-type]
        (outputs[0].square().sum() + outputs[1].square().sum()).backward()
    for found, expected in zip(single, exact, strict=True):
        assert found.grad is not None and expected.grad is not None
        assert error(found.grad, expected.grad) < 1e-5


def test_a_thousandfold_decay_stays_finite_forwards_and_backwards() -> None:
    x, dt, decay, *rest = leaves(as_float32(inputs(200)))
    outputs = chunked((x, dt, 1000 * decay, *rest), 64)  # type: ignore[arg-type]
    (outputs[0].square().sum() + outputs[1].square().sum()).backward()
    assert all(each.isfinite().all() for each in outputs)
    assert all(each.grad is not None and each.grad.isfinite().all() for each in (x, dt, decay))


def test_outputs_do_not_depend_on_what_follows() -> None:
    *signals, state_BHPN = inputs(50)
    before, _ = ssd(*signals, chunk=16, state_BHPN=state_BHPN)  # type: ignore[misc]
    for number in (0, 1, 3, 4):  # x, dt, B, C
        signals[number] = torch.cat((signals[number][:, :37], signals[number][:, 37:] * 3), dim=1)
    after, _ = ssd(*signals, chunk=16, state_BHPN=state_BHPN)  # type: ignore[misc]
    torch.testing.assert_close(after[:, :37], before[:, :37], rtol=0, atol=0)
    assert (after[:, 37:] != before[:, 37:]).any()


@pytest.mark.parametrize("cut", [1, 16, 33, 99])
def test_a_split_sequence_with_carried_state_is_the_whole(cut: int) -> None:
    x, dt, decay, b, c, d, state = inputs(100)
    whole = chunked((x, dt, decay, b, c, d, state), 16)
    outputs = []
    for part in (slice(0, cut), slice(cut, 100)):
        y, state = chunked((x[:, part], dt[:, part], decay, b[:, part], c[:, part], d, state), 16)
        outputs.append(y)
    torch.testing.assert_close((torch.cat(outputs, 1), state), whole, rtol=1e-12, atol=1e-12)


def test_bf16_is_close() -> None:
    x, dt, decay, b, c, d, state = as_float32(inputs(200))
    expected, _ = chunked((x, dt, decay, b, c, d, state), 64)
    x, b, c = (each.bfloat16() for each in (x, b, c))
    found, last = chunked((x, dt, decay, b, c, d, state), 64)
    assert found.dtype == torch.bfloat16 and last.dtype == torch.float32
    assert (found - expected).norm() / expected.norm() < 1e-2


def test_a_kernel_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mamba_ssm", None)
    with pytest.raises(ConfigError, match=r"model.kernel=mamba_ssm needs .* model.kernel=portable"):
        scan_of("mamba_ssm")
    assert scan_of("portable") is ssd


@pytest.mark.gpu
def test_the_kernel_of_mamba_ssm_gives_the_same() -> None:
    pytest.importorskip("mamba_ssm", reason="mamba_ssm is not installed: no kernel to compare with")
    if not torch.cuda.is_available():
        pytest.skip("the kernel of mamba_ssm needs a CUDA device")
    generator = torch.Generator().manual_seed(0)
    x, b, c = (torch.randn(2, 300, *s, generator=generator) for s in ((8, 64), (2, 64), (2, 64)))
    dt = torch.rand(2, 300, 8, generator=generator)
    values = [x, dt, -torch.rand(8, generator=generator), b, c, torch.ones(8)]
    state = torch.randn(2, 8, 64, 64, generator=generator)
    on_device = [each.cuda().requires_grad_() for each in values]
    alike = [each.detach().clone().requires_grad_() for each in on_device]
    for scan, leaf in ((scan_of("mamba_ssm"), on_device), (ssd, alike)):
        y, last = scan(*leaf, chunk=64, state_BHPN=state.cuda())
        (y.square().mean() + last.square().mean()).backward()
    for found, expected in zip(on_device, alike, strict=True):
        assert found.grad is not None and expected.grad is not None
        assert error(found.grad, expected.grad) < 1e-2
