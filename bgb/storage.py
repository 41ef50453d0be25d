"""`python -m bgb.storage [+infra=modal_a100] [probe=true] [places=[...]]`: what is stored where.

Draws EDF files, caches, runs and checkpoints of every place, what they cost a month and, with
probe=true, how fast the places are. Nothing is created or deleted.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.config.compose import command
from bgb.config.infra import InfraConfig
from bgb.config.schema import StorageConfig
from bgb.errors import InfraError

if TYPE_CHECKING:
    from rich.console import Console

    from bgb.infra.storage.complete import KnownCorpus
    from bgb.infra.storage.probe import Speed
    from bgb.infra.storage.survey import Survey


@dataclass(frozen=True)
class Findings:
    """Everything that was found; `unread` are the places asked for that could not be read."""

    surveys: tuple["Survey", ...]
    corpus: "KnownCorpus"
    speeds: tuple["Speed", ...]

    @property
    def unread(self) -> tuple["Survey", ...]:
        return tuple(place for place in self.surveys if place.problem is not None)


@command(StorageConfig, name="storage")
def main(config: StorageConfig) -> None:
    """Look, measure if asked to, and draw."""
    from rich.console import Console

    from bgb.infra.storage.draw import size_table, speed_table, tree

    findings = look(config)
    console = Console()
    console.print(tree(findings.surveys, findings.corpus))
    console.print(size_table(findings.surveys))
    if config.probe:
        console.print(speed_table(findings.speeds))
    asked = {*config.places, *(place.label for place in findings.surveys if _is_rented(place))}
    unread = [place for place in findings.unread if place.label in asked]
    if unread:
        raise InfraError("\n".join(f"not read: {place.problem}" for place in unread))


def look(config: StorageConfig) -> Findings:
    """Look at the places of this machine, then at those of infra where it is set."""
    from bgb.infra.storage.complete import know_corpus

    surveys, speeds = _look_here(config)
    if config.infra is None:
        return Findings(surveys, know_corpus(config.data), speeds)
    there = _look_there(config, config.infra)
    return Findings((*surveys, *there.surveys), there.corpus, (*speeds, *there.speeds))
