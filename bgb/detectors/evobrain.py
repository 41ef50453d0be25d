"""EvoBrain (Kotoge et al. 2025, arXiv 2509.15857): time, then graph; one logit for each clip.

Each second is a graph: nodes carry the log spectrum of a channel, edges the correlation of two. Two
Mamba-2 streams read the seconds of a clip, one for every node and one for every edge; a graph
convolution joins their last states. Dense matrices of 18 or 19 nodes; no PyTorch Geometric.

Departures: a learned embedding of each channel in place of Laplacian eigenvectors, since 18 fixed
channels are told apart without them and their gradients ended in NaN (lesson 55); an edge is kept
if either end has it among its strongest, so that the graph is undirected, half as many streams;
self-loops of weight 1 (Kipf and Welling 2017); a batch norm without weights in place of the mean
and SD of the training set; Mamba-2 in place of Mamba; correlation without lag. The paper does not
say whether signals or spectra are correlated: here the signals, which keep their phase.
"""

# Shapes: M clips of all windows, S seconds of a clip, C channels, T samples, F frequencies,
# E edges, D features, B batch, K clips of a window

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from bgb.detectors.fourier import fourier_basis
from bgb.detectors.mamba import MambaStack
from bgb.detectors.precision import as_typed
from bgb.detectors.segments import as_segments, check_segments

_FLOOR = 1e-3  # 0.05 uV where 50 uV is 1: half a quantum of the cache
_HEAD_FEATURES = 32


class EvoBrain(nn.Module):
    """Judge each clip of `clip_s` seconds on its own.

    Attributes: the facts of the detector contract (`rate_hz`, `out_rate_hz`, `window_s`,
    `context_s`, `receptive_field_s`); a clip needs no context.
    """

    pair_E: Tensor  # where the edges stand in a flattened matrix of channels
    edge_CC: Tensor  # which edge joins two channels; the last is the self-loop

    def __init__(
        self,
        num_channels: int,
        *,
        rate_hz: int,
        window_s: int,
        clip_s: int = 12,
        neighbours: int = 3,
        node_width: int = 96,
        edge_width: int = 16,
        layers: int = 2,
        state_features: int = 16,
        embedding_width: int = 16,
        graph_layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_segments(window_s, clip_s, "model.clip_s")
        self.rate_hz, self.window_s, self.clip_s = rate_hz, window_s, clip_s
        self.out_rate_hz = 1 / clip_s
        self.receptive_field_s = float(clip_s)
        self.context_s = (0, 0)
        self.neighbours = min(neighbours, num_channels - 1)
        self.spectrum = _LogSpectrum(rate_hz)
        self.nodes = _Stream(rate_hz // 2, node_width, layers, state_features, clip_s)
        self.edges = _Stream(1, edge_width, layers, state_features, clip_s)
        self.edge_weight = nn.Linear(edge_width, 1)
        self.embedding_CD = nn.Parameter(torch.randn(num_channels, embedding_width))
        widths = [node_width + embedding_width, *[node_width] * graph_layers]
        self.convolutions = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(node_width, 1)
        pair_E, edge_CC = _edges(num_channels)
        self.register_buffer("pair_E", pair_E, persistent=False)
        self.register_buffer("edge_CC", edge_CC, persistent=False)

    def forward(self, signal_BCT: Tensor) -> Tensor:
        """Return one logit a clip, (B, T / clip)."""
        num_clips = signal_BCT.shape[-1] // (self.clip_s * self.rate_hz)
        clips_MCT = as_segments(signal_BCT, self.clip_s * self.rate_hz)
        num_channels, num_samples = clips_MCT.shape[1:]
        seconds = num_samples // self.rate_hz
        clips_MCST = clips_MCT.view(clips_MCT.shape[0], num_channels, seconds, self.rate_hz)
        with as_typed(signal_BCT):
            spectra_MCSF = self.spectrum(clips_MCST.float())
            weights_MSCC = strongest(correlation(clips_MCST.float()), self.neighbours)
        weights_MES = weights_MSCC.flatten(-2).index_select(-1, self.pair_E).transpose(1, 2)
        nodes_MCD = self.nodes(spectra_MCSF)
        graph_MCC = self._graph(self.edge_weight(self.edges(weights_MES[..., None]))[..., 0])
        logits: Tensor = self.head(self._convolve(nodes_MCD, graph_MCC).amax(1))
        return logits.view(-1, num_clips)

    def _graph(self, raw_ME: Tensor) -> Tensor:
        """Return the adjacency D^-1/2 (A + I) D^-1/2, of positive weights, in float32."""
        weights_ME = functional.pad(functional.softplus(raw_ME.float()), (0, 1), value=1.0)
        graph_MCC = weights_ME[:, self.edge_CC]
        scale_MC = graph_MCC.sum(-1).rsqrt()
        return scale_MC[:, :, None] * graph_MCC * scale_MC[:, None]

    def _convolve(self, nodes_MCD: Tensor, graph_MCC: Tensor) -> Tensor:
        embedding_MCD = self.embedding_CD.expand(nodes_MCD.shape[0], -1, -1)
        features_MCD = torch.cat((nodes_MCD, embedding_MCD), dim=-1)
        for layer in self.convolutions:
            features_MCD = functional.relu(graph_MCC @ layer(self.dropout(features_MCD)))
        return features_MCD


class _LogSpectrum(nn.Module):
    """The log amplitude of each second below the Nyquist rate, normalised by frequency."""

    basis_T2F: Tensor

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        flat_T = torch.ones(rate_hz, dtype=torch.float64)
        basis_T2F = fourier_basis(flat_T, range(rate_hz // 2))
        self.register_buffer("basis_T2F", basis_T2F, persistent=False)
        self.norm = nn.BatchNorm1d(rate_hz // 2, affine=False)

    def forward(self, seconds_MCST: Tensor) -> Tensor:
        cosines, sines = (seconds_MCST @ self.basis_T2F).chunk(2, dim=-1)
        amplitude_MCSF = (cosines.square() + sines.square()).sqrt()
        log_MCSF = (amplitude_MCSF + _FLOOR).log()
        normalised: Tensor = self.norm(log_MCSF.flatten(0, 2))
        return normalised.view(log_MCSF.shape)


class _Stream(nn.Module):
    """What a causal Mamba-2 knows after the last second, of every row by itself."""

    def __init__(
        self, num_in: int, width: int, layers: int, state_features: int, seconds: int
    ) -> None:
        super().__init__()
        self.project = nn.Linear(num_in, width)
        self.mamba = MambaStack(
            width,
            num_layers=layers,
            dropout=0.0,
            bidirectional=False,
            state_features=state_features,
            head_features=_HEAD_FEATURES,
            chunk=seconds,
            kernel="portable",
        )

    def forward(self, series: Tensor) -> Tensor:
        """Return (M, rows, D) for (M, rows, S, features)."""
        states, _ = self.mamba(self.project(series).flatten(0, 1))
        last: Tensor = states[:, -1].view(*series.shape[:2], states.shape[-1])
        return last


def correlation(seconds_MCST: Tensor) -> Tensor:
    """Return |correlation| of the channels in each second, (M, S, C, C); 0 for a flat channel."""
    centred = seconds_MCST - seconds_MCST.mean(-1, keepdim=True)
    unit_MCST = centred / (centred.square().sum(-1, keepdim=True).sqrt() + _FLOOR)
    unit_MSCT = unit_MCST.transpose(1, 2)
    return (unit_MSCT @ unit_MSCT.mT).abs()


def strongest(weights_MSCC: Tensor, neighbours: int) -> Tensor:
    """Keep the strongest edges of each node, those that either end keeps; no self-loops."""
    num_channels = weights_MSCC.shape[-1]
    others_CC = 1 - torch.eye(num_channels, device=weights_MSCC.device)
    weights_MSCC = weights_MSCC * others_CC
    strongest_MSCN = weights_MSCC.topk(neighbours, dim=-1).indices
    kept_MSCC = torch.zeros_like(weights_MSCC).scatter(-1, strongest_MSCN, 1.0)
    return weights_MSCC * torch.maximum(kept_MSCC, kept_MSCC.mT)


def _edges(num_channels: int) -> tuple[Tensor, Tensor]:
    """Return where edge E stands in a flattened matrix, and which edge stands at (C, C)."""
    first_E, second_E = torch.triu_indices(num_channels, num_channels, offset=1)
    num_edges = len(first_E)
    edge_CC = torch.full((num_channels, num_channels), num_edges)
    edge_CC[first_E, second_E] = edge_CC[second_E, first_E] = torch.arange(num_edges)
    return first_E * num_channels + second_E, edge_CC
