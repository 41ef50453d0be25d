"""Mamba-2 (Dao and Gu 2024, arXiv 2405.21060): the mixer, and the stack that detectors use.

Parameters are named, ordered and shaped as in mamba_ssm 2. Ours differs where it looks both ways:
the reversed sequence is a second group of heads in the same call of SSD, with its own convolution,
B, C, dt, A and D; the input x and the gate z are shared, as in Vim and EEGMamba. A_log, D and
dt_bias are vectors, so the optimiser spares them weight decay (`parameter_groups`).
"""

# Shapes: B batch, T steps, D features, H heads, P features of a head, G groups (directions),
#         N features of the state, E convolved features, L steps that the convolution remembers

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bgb.detectors.precision import precise
from bgb.detectors.ssd import scan_of

State = tuple[Tensor, ...]  # of a mixer: the convolution's tail (B, L, E), SSD's state (B, H, P, N)


class Mamba2(nn.Module):
    """Mix features over time, (B, T, D) -> (B, T, D).

    Parameters
    ----------
    expand : inner features are `expand * num_features`, in heads of `head_features`.
    bidirectional : look both ways; False = causal, so that a state can be carried.
    chunk : steps of a chunk of SSD: speed and memory, not the result.
    kernel : "portable", or "mamba_ssm" for its Triton kernel.
    """

    def __init__(
        self,
        num_features: int,
        *,
        state_features: int = 64,
        head_features: int = 64,
        expand: int = 2,
        kernel_steps: int = 4,
        bidirectional: bool = False,
        chunk: int = 64,
        kernel: str = "portable",
    ) -> None:
        super().__init__()
        self.chunk, self.scan = chunk, scan_of(kernel)
        self.head_features, self.state_features = head_features, state_features
        self.num_groups = 2 if bidirectional else 1
        inner = expand * num_features
        self.num_heads = self.num_groups * inner // head_features
        written = self.num_groups * state_features  # features of B, and of C
        self.projected = [inner, inner, written, written, self.num_heads]
        self.convolved = [self.num_groups * inner, written, written]
        num_convolved = sum(self.convolved)
        self.in_proj = nn.Linear(num_features, sum(self.projected), bias=False)
        self.conv1d = nn.Conv1d(num_convolved, num_convolved, kernel_steps, groups=num_convolved)
        self.dt_bias = nn.Parameter(_initial_dt_bias(self.num_heads))
        self.A_log = nn.Parameter(torch.empty(self.num_heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.num_heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, num_features, bias=False)

    def initial_state(self, batch: int) -> State:
        """Return the state before anything was seen."""
        num_channels, _, num_steps = self.conv1d.weight.shape
        return (
            self.D.new_zeros(batch, num_steps - 1, num_channels),
            self.D.new_zeros(batch, self.num_heads, self.head_features, self.state_features),
        )

    def forward(self, features_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the mixed features, and the state that a causal mixer goes on from."""
        tail_BLE, state_BHPN = state or (None, None)
        ways = self.num_groups
        z_BTD, x_BTD, *rest = torch.split(self.in_proj(features_BTD), self.projected, dim=-1)
        B_ways, C_ways, dt_ways = (each.chunk(ways, dim=-1) for each in rest)
        joined_BTE = torch.cat(
            [*_turned([x_BTD] * ways), *_turned(B_ways), *_turned(C_ways)], dim=-1
        )
        convolved_BTE, tail_BLE = self._convolve(joined_BTE, tail_BLE)
        x_BTE, B_BTE, C_BTE = torch.split(convolved_BTE, self.convolved, dim=-1)
        y_BTHP, state_BHPN = self.scan(
            torch.unflatten(x_BTE, -1, (-1, self.head_features)),
            functional.softplus(precise(torch.cat(_turned(dt_ways), dim=-1)) + self.dt_bias),
            -precise(self.A_log).exp(),
            torch.unflatten(B_BTE, -1, (ways, -1)),
            torch.unflatten(C_BTE, -1, (ways, -1)),
            self.D,
            chunk=self.chunk,
            state_BHPN=state_BHPN,
        )
        y_BTD = functools.reduce(torch.add, _turned(y_BTHP.flatten(2).chunk(ways, dim=-1)))
        gated_BTD = self.norm(precise(y_BTD) * functional.silu(precise(z_BTD)))
        return self.out_proj(gated_BTD), (tail_BLE, state_BHPN)

    def _convolve(self, joined_BTE: Tensor, tail_BLE: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve each feature with its past; return that and the steps to remember.

        In two dimensions, the time the second and the features last in memory: no copy, and on the
        CPU the one layout in which the gradient of a depthwise convolution is not slow.
        """
        weight_E1L = self.conv1d.weight
        num_before = weight_E1L.shape[-1] - 1
        if tail_BLE is None:
            batch, _, num_channels = joined_BTE.shape
            tail_BLE = joined_BTE.new_zeros(batch, num_before, num_channels)
        joined_BTE = torch.cat((tail_BLE.to(joined_BTE.dtype), joined_BTE), dim=1)
        convolved_BE1T = functional.conv2d(
            joined_BTE.transpose(1, 2)[:, :, None],
            weight_E1L[:, :, None],
            self.conv1d.bias,
            groups=len(weight_E1L),
        )
        convolved_BTE = convolved_BE1T.squeeze(2).transpose(1, 2)
        return functional.silu(convolved_BTE), joined_BTE[:, -num_before:]


class MambaStack(nn.Module):
    """Layers of norm, mixer and residual, then a norm, (B, T, D) -> (B, T, D).

    Parameters
    ----------
    options : of every `Mamba2`.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_layers: int,
        dropout: float,
        bidirectional: bool,
        state_features: int,
        head_features: int,
        chunk: int,
        kernel: str,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(num_features, eps=1e-5) for _ in range(num_layers))
        self.mixers = nn.ModuleList(
            Mamba2(
                num_features,
                bidirectional=bidirectional,
                state_features=state_features,
                head_features=head_features,
                chunk=chunk,
                kernel=kernel,
            )
            for _ in range(num_layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.last_norm = nn.RMSNorm(num_features, eps=1e-5)

    def initial_state(self, batch: int) -> State:
        """Return the states of all layers, one after the other."""
        states: list[Tensor] = []
        for mixer in self.mixers:
            assert isinstance(mixer, Mamba2)
            states.extend(mixer.initial_state(batch))
        return tuple(states)

    def forward(self, features_BTD: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the features, and the state that a causal stack goes on from."""
        features_BTD = precise(features_BTD)  # the residual stream, under autocast too
        after: list[Tensor] = []
        for layer, (norm, mixer) in enumerate(zip(self.norms, self.mixers)):
            before = None if state is None else state[2 * layer : 2 * layer + 2]
            mixed_BTD, each = mixer(norm(features_BTD), before)
            features_BTD = features_BTD + self.dropout(mixed_BTD)
            after.extend(each)
        return self.last_norm(features_BTD), tuple(after)


def _turned(directions: Sequence[Tensor]) -> list[Tensor]:
    """Reverse the second direction, if there is one, in time (B, T, ...)."""
    return [each.flip(1) if number else each for number, each in enumerate(directions)]


def _initial_dt_bias(num_heads: int) -> Tensor:
    """Return the inverse softplus of steps between 0.001 and 0.1, uniform in the logarithm."""
    dt_H = torch.empty(num_heads).uniform_(math.log(1e-3), math.log(1e-1)).exp()
    return dt_H + (-torch.expm1(-dt_H)).log()
