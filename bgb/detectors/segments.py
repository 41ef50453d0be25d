"""A window as a batch of segments, for networks that judge each segment on its own."""

# Shapes: B batch, C channels, T samples, K segments, N samples of a segment

from torch import Tensor

from bgb.errors import ConfigError


def check_segments(window_s: int, segment_s: int, key: str) -> None:
    """Refuse a window that is not whole segments; `key` names the option, as model.segment_s."""
    if window_s % segment_s:
        raise ConfigError(
            f"data.window_s={window_s} is not a multiple of {key}={segment_s}; "
            f"choose data.window_s={max(window_s // segment_s, 1) * segment_s}"
        )


def as_segments(signal_BCT: Tensor, num_samples: int) -> Tensor:
    """Return the segments of `num_samples`, (B * K, C, N), those of a window in a row."""
    batch, num_channels, samples = signal_BCT.shape
    segments = signal_BCT.reshape(batch, num_channels, samples // num_samples, num_samples)
    return segments.transpose(1, 2).flatten(0, 1)
