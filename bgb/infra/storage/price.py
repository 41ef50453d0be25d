"""What storage costs a month. List prices, looked up by hand: see `SOURCE`."""

SOURCE = "list prices of 2026-08: S3 Standard in us-east-1, Modal Volumes above 1 TiB"
S3_USD_PER_GB = 0.023  # and month; the first 50 TB
VOLUME_USD_PER_GIB = 0.09  # and month
VOLUME_FREE_GIB = 1024.0


def monthly_usd(kind: str, num_bytes: int) -> float | None:
    """Return dollars a month, None for places whose price is not known (a disk of one's own)."""
    if kind in ("s3", "bucket"):
        return num_bytes / 1e9 * S3_USD_PER_GB
    if kind == "Volume":
        return max(0.0, num_bytes / 2**30 - VOLUME_FREE_GIB) * VOLUME_USD_PER_GIB
    return None
