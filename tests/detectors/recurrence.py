"""The recurrence that SSD computes, step by step: the reference of its tests."""

# Shapes: B batch, T steps, H heads, P features of a head, G groups, N features of the state

import torch
from torch import Tensor

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def recurrence(
    x_BTHP: Tensor,
    dt_BTH: Tensor,
    A_H: Tensor,
    B_BTGN: Tensor,
    C_BTGN: Tensor,
    D_H: Tensor,
    state_BHPN: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return outputs and last state."""
    repeats = x_BTHP.shape[2] // B_BTGN.shape[2]
    B_BTHN, C_BTHN = (each.repeat_interleave(repeats, dim=2) for each in (B_BTGN, C_BTGN))
    outputs = []
    for step in range(x_BTHP.shape[1]):
        x_BHP, dt_BH = x_BTHP[:, step], dt_BTH[:, step]
        written_BHPN = (dt_BH[..., None] * x_BHP)[..., None] * B_BTHN[:, step, :, None]
        state_BHPN = (dt_BH * A_H).exp()[..., None, None] * state_BHPN + written_BHPN
        read_BHP = (state_BHPN @ C_BTHN[:, step, ..., None]).squeeze(-1)
        outputs.append(read_BHP + D_H[:, None] * x_BHP)
    return torch.stack(outputs, dim=1), state_BHPN


def inputs(num_steps: int, *, batch: int = 2, heads: int = 4, features: int = 8) -> Inputs:
    """Return inputs of two groups in float64, the state before the first step among them."""
    generator = torch.Generator().manual_seed(num_steps)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return (
        normal(batch, num_steps, heads, features),
        normal(batch, num_steps, heads).exp() / 5,
        -normal(heads).exp(),
        normal(batch, num_steps, 2, 6),
        normal(batch, num_steps, 2, 6),
        normal(heads),
        normal(batch, heads, features, 6),
    )


def as_float32(values: Inputs) -> Inputs:
    """Return the inputs in single precision."""
    x, dt, a, b, c, d, state = (each.float() for each in values)
    return x, dt, a, b, c, d, state
