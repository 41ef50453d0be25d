"""Files behind fsspec URLs: how they are read, which errors that may raise, and what those mean.

botocore's own errors (no keys, no endpoint) are no OSError, unlike what s3fs makes of answers, and
aiohttp's (a body cut short) are neither. botocore and s3fs try a failed request again by
themselves; what they do not mend, a longer outage or an answer that trickles, is tried again here.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

REQUEST_BYTES = 32 << 20  # what a failure costs at most; latency is a tenth of it at 100 MB/s
ATTEMPTS = 5
_FIRST_WAIT_S = 1.0  # doubles with each attempt
_PATIENCE_S = 30.0  # of a request, whatever its size; s3fs gives up a silent one after 15 s
_SLOWEST_BYTES_PER_S = 1e6  # a request that is slower on the whole is worth another attempt


def read_url(url: str) -> bytes:
    """Read a whole file; see `read_parts`."""
    return b"".join(read_parts(url))


def read_parts(url: str) -> Iterator[bytes]:
    """Read a file in ranges of `REQUEST_BYTES`, each tried again where it fails or falls behind.

    Raises
    ------
    remote_errors() : what is missing or forbidden at once, anything else after `ATTEMPTS`.
    """
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(url)
    size = retried(url, partial(filesystem.info, path))["size"]
    if size is None:  # some HTTP servers do not tell
        yield retried(url, partial(filesystem.cat_file, path))
        return
    for start in range(0, size, REQUEST_BYTES):
        yield retried(
            url, partial(_range, filesystem, path, start, min(start + REQUEST_BYTES, size))
        )


def retried(url: str, ask: Callable[[], _Answer]) -> _Answer:
    """Ask until there is an answer, `ATTEMPTS` times, with doubled waits; say each failure."""
    for attempt in range(1, ATTEMPTS):
        try:
            return ask()
        except remote_errors() as error:
            if isinstance(error, _final_errors()):
                raise
            wait_s = _FIRST_WAIT_S * 2 ** (attempt - 1)
            _log.warning(
                "%s: attempt %d of %d failed (%s: %s); the next in %g s",
                *(url, attempt, ATTEMPTS, type(error).__name__, error, wait_s),
            )
            time.sleep(wait_s)
    return ask()


def remote_errors() -> tuple[type[Exception], ...]:
    """Return what any file system may raise; ImportError: that of the URL is not installed."""
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    return OSError, ValueError, ImportError, BotoCoreError, ClientError


def explain(url: str, error: Exception) -> str:
    """Say what is wrong with a URL and what to do."""
    from botocore.exceptions import NoCredentialsError

    if isinstance(error, FileNotFoundError):
        return f"{url} does not exist"
    if isinstance(error, NoCredentialsError):
        return f"{url}: no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, PermissionError):
        return f"{url}: access denied ({error}); these keys may not list or read it"
    return f"{url} cannot be read: {error}; see AWS_ENDPOINT_URL and the network"


def _final_errors() -> tuple[type[Exception], ...]:
    """Return the errors that another attempt cannot mend."""
    from botocore.exceptions import NoCredentialsError

    missing = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
    return *missing, PermissionError, ValueError, ImportError, NoCredentialsError


def _range(filesystem: Any, path: str, start: int, stop: int) -> bytes:  # Any: fsspec is untyped
    content: bytes
    if filesystem.async_impl:  # http, s3, gcs...: can be given up in the middle
        from fsspec.asyn import sync

        patience_s = _PATIENCE_S + (stop - start) / _SLOWEST_BYTES_PER_S
        ask = filesystem._cat_file  # fsspec documents it as the coroutine to override and to await
        content = sync(filesystem.loop, ask, path, start=start, end=stop, timeout=patience_s)
    else:
        content = filesystem.cat_file(path, start=start, end=stop)
    if len(content) != stop - start:
        raise OSError(f"{len(content)} bytes came for [{start}, {stop})")
    return content
