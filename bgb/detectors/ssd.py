"""State-space duality (SSD), the core of Mamba-2, in plain matrix products.

Dao and Gu 2024, arXiv 2405.21060, section 6. The recurrence, with one scalar decay per head,

    h_t = exp(dt_t A) h_(t-1) + dt_t x_t (x) B_t        y_t = h_t C_t + D x_t

is cut into chunks: inside a chunk it is a masked matrix product, as in attention; the states at the
chunks' ends follow from each other by one more matrix product. Equal to the recurrence for any
length and chunk; the chunk decides speed and memory alone. Decays, their sums and the states are
float32 (float64 for float64 signals); the large products keep the type of the signal.
"""

# Shapes: B batch, T steps, H heads, P features of a head, G groups of heads, J heads of a group,
#         N features of the state, K chunks, Q steps of a chunk, S state (P x N)

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bgb.detectors.precision import as_typed, precise
from bgb.errors import ConfigError

Scan = Callable[..., tuple[Tensor, Tensor]]


def ssd(
    x_BTHP: Tensor,
    dt_BTH: Tensor,
    A_H: Tensor,
    B_BTGN: Tensor,
    C_BTGN: Tensor,
    D_H: Tensor,
    *,
    chunk: int,
    state_BHPN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the outputs (B, T, H, P) and the state after the last step (B, H, P, N).

    Parameters
    ----------
    dt_BTH : length of each step, not negative; 0 leaves the state as it is.
    A_H : rate of the decay, below 0.
    B_BTGN, C_BTGN : what is written and read; the heads of a group share them, group by group.
    D_H : how much of x goes straight to y.
    state_BHPN : state before the first step; None = zero.
    """
    num_steps, num_groups = x_BTHP.shape[1], B_BTGN.shape[2]
    dtype = x_BTHP.dtype
    with as_typed(x_BTHP):
        x_BGJKQP, dt_BGJKQ1, B_BG1KQN, C_BG1KQN = (
            _chunked(each, min(chunk, num_steps), num_groups)
            for each in (x_BTHP, precise(dt_BTH)[..., None], B_BTGN, C_BTGN)
        )
        x_BGJKQP, dt_BGJKQ = x_BGJKQP.contiguous(), dt_BGJKQ1.squeeze(-1)
        decay_BGJKQ = (dt_BGJKQ * precise(A_H).view(num_groups, -1, 1, 1)).cumsum(-1)
        # B and C meet once for all heads of a group.
        meets_BG1KQQ = C_BG1KQN @ B_BG1KQN.transpose(-1, -2)
        near_BGJKQQ = _near(meets_BG1KQQ, decay_BGJKQ, dt_BGJKQ, D_H.view(num_groups, -1, 1, 1))
        to_end_BGJKQ = (decay_BGJKQ[..., -1:] - decay_BGJKQ).exp() * dt_BGJKQ
        writes_BGJKQN = (B_BG1KQN * to_end_BGJKQ[..., None]).to(dtype)
        states_BGJKPN, last_BGJPN = _states(
            precise(x_BGJKQP.transpose(-1, -2) @ writes_BGJKQN),
            decay_BGJKQ[..., -1],
            None if state_BHPN is None else torch.unflatten(state_BHPN, 1, (num_groups, -1)),
        )
        reads_BGJKQN = (C_BG1KQN * decay_BGJKQ.exp()[..., None]).to(dtype)
        y_BGJKQP = near_BGJKQQ.to(dtype) @ x_BGJKQP
        y_BGJKQP = y_BGJKQP.add_(reads_BGJKQN @ states_BGJKPN.to(dtype).transpose(-1, -2))
        y_BTHP = y_BGJKQP.permute(0, 3, 4, 1, 2, 5).flatten(3, 4).flatten(1, 2)
        return y_BTHP[:, :num_steps], last_BGJPN.flatten(1, 2)


def scan_of(kernel: str) -> Scan:
    """Return the function that computes SSD: ours, or the Triton kernel of mamba_ssm.

    Raises
    ------
    ConfigError : the kernel is asked for and not installed.
    """
    if kernel == "portable":
        return ssd
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError as error:
        raise ConfigError(
            f"model.kernel={kernel} needs the package mamba_ssm, which does not import ({error}); "
            "install mamba-ssm on a machine with CUDA, or set model.kernel=portable"
        ) from error

    def scan(*signals: Tensor, chunk: int, state_BHPN: Tensor | None = None) -> Any:  # Any: untyped
        *signals_and_decay, D_H = signals
        return mamba_chunk_scan_combined(
            *signals_and_decay,
            chunk_size=chunk,
            D=D_H,
            initial_states=state_BHPN,
            return_final_states=True,
        )

    return scan


def _chunked(values_BTHP: Tensor, chunk: int, num_groups: int) -> Tensor:
    """Cut into chunks, (B, G, J, K, Q, P); zeros fill the last, which leaves the state exact."""
    missing = -values_BTHP.shape[1] % chunk
    if missing:
        values_BTHP = functional.pad(values_BTHP, (0, 0, 0, 0, 0, missing))
    values_BKQGJP = torch.unflatten(
        torch.unflatten(values_BTHP, 2, (num_groups, -1)), 1, (-1, chunk)
    )
    return values_BKQGJP.permute(0, 3, 4, 1, 2, 5)


def _near(meets_BG1KQQ: Tensor, decay_BGJKQ: Tensor, dt_BGJKQ: Tensor, D_GJ11: Tensor) -> Tensor:
    """Return how much each step of a chunk takes from x of each other, (B, G, J, K, Q, Q)."""
    taken_BGJKQQ = _fading(decay_BGJKQ) * dt_BGJKQ[..., None, :]
    straight_GJ1Q = precise(D_GJ11).expand(-1, -1, 1, dt_BGJKQ.shape[-1])
    return torch.addcmul(torch.diag_embed(straight_GJ1Q), taken_BGJKQQ, precise(meets_BG1KQQ))


def _states(
    written_BGJKPN: Tensor, decay_BGJK: Tensor, first_BGJPN: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the state before each chunk, (B, G, J, K, P, N), and the one after the last."""
    ends_BGJK = functional.pad(decay_BGJK.cumsum(-1), (1, 0))
    fading_BGJKK = _fading(ends_BGJK)  # from the start and the end of each chunk to each other
    # Before the chunks and after the last are two products: a slice would cost a copy backwards.
    states_BGJPN = [
        _after(written_BGJKPN, fading_BGJKK[..., rows, :], first_BGJPN)
        for rows in (slice(None, -1), slice(-1, None))
    ]
    return states_BGJPN[0], states_BGJPN[1].squeeze(3)


def _after(written_BGJKPN: Tensor, fading_BGJRK: Tensor, first_BGJPN: Tensor | None) -> Tensor:
    states_BGJRS = fading_BGJRK[..., 1:] @ written_BGJKPN.flatten(-2)
    if first_BGJPN is not None:
        first_BGJ1S = first_BGJPN.to(states_BGJRS.dtype).flatten(-2).unsqueeze(-2)
        states_BGJRS = states_BGJRS + fading_BGJRK[..., :1] * first_BGJ1S
    return torch.unflatten(states_BGJRS, -1, written_BGJKPN.shape[-2:])


def _fading(decay_Q: Tensor) -> Tensor:
    """Return exp(decay_i - decay_j) for j <= i and 0 above the diagonal, (..., Q, Q).

    Masked before the exponential: above the diagonal it overflows, and inf * 0 is NaN backwards.
    """
    num_steps = decay_Q.shape[-1]
    above_QQ = torch.full((num_steps, num_steps), -torch.inf, device=decay_Q.device).triu(1)
    # A negated vector costs nothing; the gradient of a difference negates the whole matrix.
    return (decay_Q[..., :, None] + (-decay_Q)[..., None, :]).add_(above_QQ).exp_()
