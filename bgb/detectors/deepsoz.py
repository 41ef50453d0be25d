"""DeepSOZ (Shama, Jing, Venkataraman 2023, doi 10.1007/978-3-031-43993-3_18; HEM 2025).

Tokens are the raw samples of one channel in one second (256 at 256 Hz). One transformer layer
gathers the channels of a second in a learned token; a BiLSTM reads the seconds of the window and
gives one logit for each. Written from the paper; its code is under the GPL.

Departures: no branch for the onset zone (`Linear(256, 1)`), which is dead without its loss; one
logit in place of two classes; no bias of the keys, to which softmax is blind. Of the transformer
layer only the learned token is computed, since nothing else of it is read, and its query is one
for all seconds, since that token holds no signal: with equal weights it is torch's post-norm
TransformerEncoderLayer with ReLU (a test compares), at 1/23 of the operations. Clipping is by the
SD of the window, not of the recording; the band (1.6 to 30 Hz) is preprocessing. torch 2.13
compiles what stands around the LSTM, not the LSTM.
"""

# Shapes: B batch, C channels, T samples, K seconds, D samples of a second = width, L = C + 1
# tokens, H heads, E = D / H

import torch
from torch import Tensor, nn
from torch.nn import functional

from bgb.detectors.precision import as_typed


class DeepSoz(nn.Module):
    """Gather the channels of each second, then judge each second in the light of the window.

    Attributes: the facts of the detector contract (`rate_hz`, `out_rate_hz`, `window_s`,
    `context_s`, `receptive_field_s`); the LSTM sees whatever window there is.
    """

    is_one_graph = False  # torch compiles what stands around an LSTM

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        clip_sd: float = 2.0,
        heads: int = 8,
        feedforward_width: int = 256,
        lstm_width: int = 100,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.rate_hz, self.window_s = rate_hz, window_s
        self.out_rate_hz = 1.0
        self.receptive_field_s = 1.0
        self.context_s = (0, 0)
        self.clip_sd = clip_sd
        self.gather = _GatherChannels(rate_hz, num_channels, heads, feedforward_width, dropout)
        self.lstm = nn.LSTM(rate_hz, lstm_width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * lstm_width, 1)

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit a second, (B, T / rate_hz)."""
        if self.clip_sd:
            signal_BCT = clip(signal_BCT, self.clip_sd)
        batch, num_channels, num_samples = signal_BCT.shape
        signal_BCKD = signal_BCT.reshape(
            batch, num_channels, num_samples // self.rate_hz, self.rate_hz
        )
        seconds_BKD = self.gather(signal_BCKD)
        with as_typed(signal_BCT):  # 600 steps in bf16 would forget
            states_BKD, _ = self.lstm(seconds_BKD.float())
        logits_BK: Tensor = self.head(states_BKD)[..., 0]
        return logits_BK


class _GatherChannels(nn.Module):
    """What a post-norm transformer layer makes of the last token, which attends to all."""

    def __init__(
        self, width: int, num_channels: int, heads: int, feedforward_width: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.tokens = nn.Embedding(num_channels + 1, width)  # positions; the last is the token
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward_width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_width, width),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        for layer in (self.query, self.key, self.value):
            # As torch's attention: one matrix for the three.
            nn.init.uniform_(layer.weight, -((1.5 / width) ** 0.5), (1.5 / width) ** 0.5)
        for layer in (self.query, self.value, self.out):
            nn.init.zeros_(layer.bias)

    def forward(self, signal_BCKD: Tensor) -> Tensor:
        """Return the learned token of each second, (B, K, D)."""
        token_D = self.tokens.weight[-1]
        tokens_BKLD = functional.pad(signal_BCKD, (0, 0, 0, 0, 0, 1)).transpose(1, 2)
        tokens_BKLD = tokens_BKLD + self.tokens.weight
        attended_BKD = self._attend(token_D, tokens_BKLD)
        gathered_BKD = self.norms[0](token_D + self.dropout(attended_BKD))
        changed_BKD = self.dropout(self.feedforward(gathered_BKD))
        result_BKD: Tensor = self.norms[1](gathered_BKD + changed_BKD)
        return result_BKD

    def _attend(self, token_D: Tensor, tokens_BKLD: Tensor) -> Tensor:
        """Weigh the tokens before the keys' and values' matrices, not after: the sums are equal."""
        query_H1E = self.query(token_D).view(self.heads, 1, -1)
        key_HED = self.key.weight.view(self.heads, -1, len(token_D))
        query_HD = (query_H1E @ key_HED)[:, 0] / query_H1E.shape[-1] ** 0.5
        weights_BKHL = self.dropout((tokens_BKLD @ query_HD.T).softmax(-2).mT)
        mixed_BKHD = weights_BKHL @ tokens_BKLD
        value_HED = self.value.weight.view(self.heads, -1, len(token_D))
        values_BKHE = torch.einsum("bkhd,hed->bkhe", mixed_BKHD, value_HED)
        attended_BKD: Tensor = self.out(values_BKHE.flatten(-2) + self.value.bias)
        return attended_BKD


def clip(signal_BCT: Tensor, num_sd: float) -> Tensor:
    """Clip each channel at `num_sd` standard deviations from its mean; padding does not count."""
    recorded_B1T = (signal_BCT != 0).any(1, keepdim=True).to(signal_BCT.dtype)
    count_B11 = recorded_B1T.sum(-1, keepdim=True).clamp_min(1)
    mean_BC1 = signal_BCT.sum(-1, keepdim=True) / count_B11
    squares_BCT = (signal_BCT - mean_BC1).square() * recorded_B1T
    variance_BC1 = squares_BCT.sum(-1, keepdim=True) / count_B11
    reach_BC1 = num_sd * variance_BC1.sqrt()
    return signal_BCT.clamp(mean_BC1 - reach_BC1, mean_BC1 + reach_BC1)
