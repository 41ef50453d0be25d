"""Points the modal client of this process at a loopback Modal, and back."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def connected(environment: Mapping[str, str]) -> Iterator[None]:
    """Set the client's variables; the client's singletons are renewed before and after."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        _forget()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _forget()


def _forget() -> None:
    import modal
    from modal._environments import ENVIRONMENT_CACHE

    if modal.client._Client._client_from_env is not None:
        modal.Client.from_env().close()
    modal.Client._set_env_client(None)
    ENVIRONMENT_CACHE.clear()
