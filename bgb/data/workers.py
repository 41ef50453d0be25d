"""Processes that build caches: started afresh, dying with their parent, with large pages."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

_TUNABLES = "GLIBC_TUNABLES"  # read by glibc 2.35 and later when a process starts, by nobody else
_LARGE_PAGES = "glibc.malloc.hugetlb=1"  # transparent ones, where the kernel gives them on request


def open_executor(workers: int) -> Executor:
    """Return an executor that runs work in processes, or in this one where one is enough."""
    if workers == 1:
        return ThreadPoolExecutor(1)
    # spawn: a fork of a process with threads (torch, Lightning) can hang
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


@contextmanager
def large_pages() -> Iterator[None]:
    """Let processes that start meanwhile use large pages: a recording takes a tenth less time."""
    before = os.environ.get(_TUNABLES)
    os.environ[_TUNABLES] = f"{before}:{_LARGE_PAGES}" if before else _LARGE_PAGES
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TUNABLES]
        else:
            os.environ[_TUNABLES] = before


def _start_worker() -> None:
    """Leave logging to the parent, which reports the remarks, and no orphan when it is killed."""
    logging.getLogger("bgb").addHandler(logging.NullHandler())
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
