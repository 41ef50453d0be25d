"""Files behind fsspec URLs: which errors reading them may raise, and what those mean.

botocore's own errors (no keys, no endpoint) are no OSError, unlike what s3fs makes of answers.
"""


def remote_errors() -> tuple[type[Exception], ...]:
    """Return what any file system may raise; ImportError: that of the URL is not installed."""
    from botocore.exceptions import BotoCoreError

    return OSError, ValueError, ImportError, BotoCoreError


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
