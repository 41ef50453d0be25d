"""`python -m bgb.runs [action=list|compare|prune]`: what was trained, what came out, what may go.

list shows every run below results=, compare sets configuration, scores and provenance of two beside
each other (`runs=[a,b]`). prune lists what would go, with its size; the same command with the
`confirm=` that it prints removes exactly that, never a running run and never a cache.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.config.compose import command
from bgb.config.runs import RunsConfig

if TYPE_CHECKING:
    from bgb.training.runs.report import Report


@command(RunsConfig, name="runs")
def main(config: RunsConfig) -> None:
    """Run the action and show what it found."""
    from rich.console import Console

    from bgb.terminal import print_table
    from bgb.training.runs.report import as_csv, as_json

    actions = {"list": list_all, "compare": compare, "prune": prune}
    report = actions[config.action](config)
    if config.out != "table":
        sys.stdout.write(as_json(report) if config.out == "json" else as_csv(report))
        if config.out == "csv":  # has no place for them
            sys.stderr.writelines(f"{note}\n" for note in report.notes)
        return
    console = Console()
    if report.rows:
        print_table(report.table)
    for note in report.notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)


def list_all(config: RunsConfig) -> "Report":
    """List the runs whose name fits."""
    from bgb.training.runs.table import list_runs

    return list_runs(_results(config), match=config.match, sort=config.sort)


def compare(config: RunsConfig) -> "Report":
    """Show where two runs differ."""
    from bgb.training.runs.compare import compare_runs

    first, second = config.runs
    return compare_runs(_results(config), first, second)


def prune(config: RunsConfig) -> "Report":
    """List what would be removed or, confirmed, remove it."""
    from bgb.training.runs.prune import list_removals, removal_report, remove

    listing = list_removals(
        _results(config), config.remove, match=config.match, older_days=config.older_days
    )
    if config.confirm is not None:
        remove(listing, confirm=config.confirm)
    return removal_report(listing, done=config.confirm is not None)


def _results(config: RunsConfig) -> Path:
    return Path(config.results).expanduser()


if __name__ == "__main__":
    main()
