"""`python -m bgb.storage [+infra=modal_a100] [probe=true] [places=[...]]`: what is stored where.

Draws EDF files, caches, runs and checkpoints of every place, what they cost a month and, with
probe=true, how fast the places are. Nothing is created or deleted.
"""

from bgb.config.compose import command
from bgb.config.schema import StorageConfig
from bgb.errors import InfraError


@command(StorageConfig, name="storage")
def main(config: StorageConfig) -> None:
    """Look, measure if asked to, and draw; a place asked for that cannot be read is an error."""
    from rich.console import Console

    from bgb.infra.storage.draw import size_table, speed_table, tree
    from bgb.infra.storage.look import look

    findings = look(config)
    console = Console()
    console.print(tree(findings.surveys, findings.corpus))
    console.print(size_table(findings.surveys))
    if config.probe:
        console.print(speed_table(findings.speeds))
    if findings.unread:
        raise InfraError("not read: " + "\nnot read: ".join(findings.unread))


if __name__ == "__main__":
    main()
