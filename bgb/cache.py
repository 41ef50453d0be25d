"""`python -m bgb.cache action=build|import|verify|list|inspect data=...`: look after the caches.

build makes what is missing and prints the table that training checks, verify reads every byte
again, list shows every cache under data.cache_root, inspect one recording. Nothing is deleted.
import turns a cache of the predecessor (`source=<folder>`) into one of ours, without EDF files.
With `+infra=modal_cpu` rented containers build the cache on the Volume.
"""

from typing import TYPE_CHECKING

from bgb.config.compose import command
from bgb.config.schema import CacheConfig
from bgb.errors import CacheError, ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from bgb.data.cache import Cache


@command(CacheConfig, name="cache")
def main(config: CacheConfig) -> None:
    """Run the action and print its table."""
    from bgb.terminal import print_table

    if config.infra is not None and config.action != "build":
        raise ConfigError(
            f"action={config.action} looks at this machine; for what lies on a Volume: "
            "`python -m bgb.storage +infra=...`"
        )
    actions = {
        "build": build,
        "import": import_predecessor,
        "verify": verify,
        "list": list_all,
        "inspect": inspect,
    }
    print_table(actions[config.action](config))


def build(config: CacheConfig) -> "Table":
    """Materialise what the corpus has and the cache lacks; a second call does nothing."""
    if config.infra is not None:
        return build_remotely(config)
    from bgb.corpora import find_corpus
    from bgb.data.build import build_cache
    from bgb.data.check import check_cache, summary_table

    progress = not config.disable_progress
    corpus = find_corpus(config.data, progress=progress)
    build_cache(config.data, corpus, progress=progress, force=config.force)
    cache = _open(config, [(item.split, item.recording_id) for item in corpus.recordings])
    check_cache(cache)
    return summary_table(cache)


def build_remotely(config: CacheConfig) -> "Table":
    """Do the same on the Volume of `infra`; interrupted, containers go on, and so does a repeat."""
    from bgb.data.check import summary_table
    from bgb.data.key import cache_key
    from bgb.infra.app import Session
    from bgb.infra.cache_build import fill_cache
    from bgb.infra.cache_volume import volume_path

    volume_path(config.data, config.infra)  # refuses what would be lost, before anything starts
    session = Session(config.infra, sweep_id=f"cache-{cache_key(config.data)}")
    session.deploy()
    progress = not config.disable_progress
    cache = fill_cache(
        session, config.data, progress=progress, force=config.force, check_source=True
    )
    session.stop()
    return summary_table(cache)


def import_predecessor(config: CacheConfig) -> "Table":
    """Rebuild recordings from the predecessor's windows; a second call does nothing."""
    from bgb.data.importing import import_cache, import_table

    assert config.source is not None
    progress = not config.disable_progress
    return import_table(
        import_cache(config.data, config.source, progress=progress, force=config.force)
    )


def verify(config: CacheConfig) -> "Table":
    """Compare every file of the cache with its own meta and checksum."""
    from bgb.data.key import cache_folder
    from bgb.data.verify import verify_cache, verify_table
    from bgb.terminal import print_table

    files = verify_cache(cache_folder(config.data), progress=not config.disable_progress)
    table = verify_table(files)
    if any(file.problem for file in files):
        print_table(table)
        damaged = sum(bool(file.problem) for file in files)
        raise CacheError(f"{damaged} of {len(files)} files are damaged; the table tells which")
    return table


def list_all(config: CacheConfig) -> "Table":
    """List every cache under the root, whatever its corpus and key."""
    from bgb.data.verify import list_caches, list_table

    return list_table(list_caches(config.data.cache_root))


def inspect(config: CacheConfig) -> "Table":
    """Show one recording, or without `recording` the whole cache."""
    from bgb.data.check import summary_table
    from bgb.data.verify import inspect_table

    cache = _open(config)
    return inspect_table(cache[config.recording]) if config.recording else summary_table(cache)


def _open(config: CacheConfig, recordings: list[tuple[str, str]] | None = None) -> "Cache":
    from bgb.data.cache import open_cache
    from bgb.data.key import cache_folder

    return open_cache(
        cache_folder(config.data),
        recordings=recordings,
        force_manifest=config.force_manifest_rebuild,
    )


if __name__ == "__main__":
    main()
