"""The Mamba-2 block: both directions in one call, and a causal one with a state."""

# Shapes: B batch, T steps, D features

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bgb.detectors.mamba import Mamba2, MambaStack
from bgb.errors import ConfigError
from bgb.training.module import parameter_groups
from tests.detectors.recurrence import recurrence

TINY = {"state_features": 6, "head_features": 4, "chunk": 8}


def mixer_of(*, bidirectional: bool) -> Mamba2:
    torch.manual_seed(0)
    mixer = Mamba2(8, bidirectional=bidirectional, **TINY)  # type: ignore[arg-type]
    torch.nn.init.normal_(mixer.D)
    return mixer.double()


def stack_of(*, bidirectional: bool = False) -> MambaStack:
    torch.manual_seed(0)
    return MambaStack(
        8, num_layers=2, dropout=0.1, bidirectional=bidirectional, kernel="portable", **TINY
    ).double()


def features(num_steps: int = 21) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, num_steps, 8, generator=generator, dtype=torch.float64)


def one_way(mixer: Mamba2, way: int, features_BTD: Tensor) -> Tensor:
    """Return y of one direction, written as the paper has it, with that direction's parameters."""
    inner, state, heads = 16, mixer.state_features, 4
    rows = mixer.in_proj.weight.split([inner, inner, *[state] * 4, heads, heads])
    x, b, c, dt = (features_BTD @ rows[row].T for row in (1, 2 + way, 4 + way, 6 + way))
    sizes = [inner, inner, *[state] * 4]
    weights, biases = mixer.conv1d.weight.split(sizes), mixer.conv1d.bias.split(sizes)  # type: ignore[union-attr]

    def convolved(values_BTD: Tensor, part: int) -> Tensor:
        padded = functional.pad(values_BTD.transpose(1, 2), (3, 0))
        out = functional.conv1d(padded, weights[part], biases[part], groups=len(weights[part]))
        return functional.silu(out).transpose(1, 2)

    own = slice(heads * way, heads * (way + 1))
    y, _ = recurrence(
        convolved(x, way).unflatten(-1, (heads, 4)),
        functional.softplus(dt + mixer.dt_bias[own]),
        -mixer.A_log[own].exp(),
        convolved(b, 2 + way)[:, :, None],
        convolved(c, 4 + way)[:, :, None],
        mixer.D[own],
        torch.zeros(2, heads, 4, state, dtype=torch.float64),
    )
    return y.flatten(2)


def test_block_is_the_formula_of_the_paper_in_both_directions() -> None:
    mixer, x_BTD = mixer_of(bidirectional=True), features()
    y_BTD = one_way(mixer, 0, x_BTD) + one_way(mixer, 1, x_BTD.flip(1)).flip(1)
    gated = y_BTD * functional.silu(x_BTD @ mixer.in_proj.weight[:16].T)
    gated = gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.weight
    found, _ = mixer(x_BTD)
    torch.testing.assert_close(found, gated @ mixer.out_proj.weight.T, rtol=1e-5, atol=1e-6)


def test_reversed_time_with_directions_exchanged_gives_the_reverse() -> None:
    mixer, other = mixer_of(bidirectional=True), mixer_of(bidirectional=True)
    state = mixer.state_dict()
    for name in ("A_log", "D", "dt_bias"):
        state[name] = state[name].roll(4)
    for name, sizes in (
        ("in_proj.weight", [16, 16, 6, 6, 6, 6, 4, 4]),
        ("conv1d.weight", [0, 0, 16, 16, 6, 6, 6, 6]),
        ("conv1d.bias", [0, 0, 16, 16, 6, 6, 6, 6]),
    ):
        z, x, *pairs = state[name].split(sizes)
        state[name] = torch.cat([z, x, *(pairs[pair ^ 1] for pair in range(6))])
    other.load_state_dict(state)
    x_BTD = features()
    torch.testing.assert_close(other(x_BTD.flip(1))[0].flip(1), mixer(x_BTD)[0])
    assert not torch.allclose(mixer(x_BTD.flip(1))[0].flip(1), mixer(x_BTD)[0])


def test_causal_block_ignores_what_follows_and_the_other_does_not() -> None:
    x_BTD = features()
    changed = torch.cat((x_BTD[:, :13], -x_BTD[:, 13:]), dim=1)
    causal, both = mixer_of(bidirectional=False), mixer_of(bidirectional=True)
    torch.testing.assert_close(causal(changed)[0][:, :13], causal(x_BTD)[0][:, :13])
    assert ((both(changed)[0] != both(x_BTD)[0])[:, :13]).any()


@pytest.mark.parametrize("cuts", [(1,), (2, 5), (8, 16), (20,)])
def test_causal_stack_carries_its_state_over_any_cut(cuts: tuple[int, ...]) -> None:
    stack, x_BTD = stack_of().eval(), features()
    whole, last = stack(x_BTD)
    parts, state = [], stack.initial_state(2)
    for part in torch.tensor_split(x_BTD, cuts, dim=1):
        mixed, state = stack(part, state)
        parts.append(mixed)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(state, last, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_block_has_the_parameters_of_mamba_ssm(bidirectional: bool) -> None:
    ways = 2 if bidirectional else 1
    mixer = Mamba2(256, bidirectional=bidirectional)
    channels = ways * (512 + 2 * 64)
    assert {name: tuple(each.shape) for name, each in mixer.named_parameters()} == {
        "in_proj.weight": (2 * 512 + ways * (2 * 64 + 8), 256),
        "conv1d.weight": (channels, 1, 4),
        "conv1d.bias": (channels,),
        "dt_bias": (8 * ways,),
        "A_log": (8 * ways,),
        "D": (8 * ways,),
        "norm.weight": (512,),
        "out_proj.weight": (256, 512),
    }


def test_decay_step_and_skip_are_spared_weight_decay() -> None:
    mixer = Mamba2(16, head_features=16)
    spared = {id(each) for each in parameter_groups(mixer, 0.1)[1]["params"]}
    assert {id(mixer.A_log), id(mixer.D), id(mixer.dt_bias), id(mixer.norm.weight)} <= spared


def test_steps_start_between_a_thousandth_and_a_tenth() -> None:
    dt_H = functional.softplus(Mamba2(256).dt_bias)
    assert ((dt_H > 0.99e-3) & (dt_H < 1.01e-1)).all()
    rates_H = Mamba2(256).A_log.exp()
    assert ((rates_H >= 1) & (rates_H <= 16)).all()


def test_kernel_that_is_missing_is_refused_when_the_block_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mamba_ssm", None)
    with pytest.raises(ConfigError, match=r"model.kernel=mamba_ssm needs the package"):
        Mamba2(16, head_features=16, kernel="mamba_ssm")
