"""Draw surveys: a tree of what is there, a table of sizes and prices, a table of speeds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from bgb.config.data import SPLITS
from bgb.infra.storage.complete import KnownCorpus, judge
from bgb.infra.storage.price import SOURCE, monthly_usd
from bgb.infra.storage.probe import Speed
from bgb.infra.storage.survey import EdfTree, StoredCache, StoredRun, Survey

_MOST_LINES = 20  # of one kind in the tree; the rest is counted


def tree(surveys: Sequence[Survey], corpus: KnownCorpus) -> Tree:
    """Return everything that was found, place by place."""
    root = Tree("[bold]storage[/bold]")
    for place in surveys:
        branch = root.add(_heading(place))
        for remark in place.remarks:
            branch.add(f"[yellow]{escape(remark)}[/yellow]")
        _branch(branch, "EDF files", [_edf_line(edf) for edf in place.edf])
        _branch(branch, "caches", [_cache_line(cache, corpus) for cache in place.caches])
        newest_first = sorted(place.runs, key=lambda run: run.changed_s, reverse=True)
        _branch(branch, "runs", [_run_line(run) for run in newest_first])
        _branch(branch, "other files", _other_lines(place.others or {}))
    return root


def size_table(surveys: Sequence[Survey]) -> Table:
    """Return files, bytes and dollars a month of every place, and what they are spent on."""
    table = Table(title="size and price", title_justify="left")
    for heading in ("place", "files", "EDF", "caches", "runs", "all", "$ a month"):
        left = heading == "place"
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    known = [place for place in surveys if place.problem is None]
    for place in known:
        parts = (place.edf, place.caches, place.runs)
        sizes = [sum(item.num_bytes for item in part) for part in parts]
        usd = monthly_usd(place.kind, place.num_bytes)
        table.add_row(
            *(escape(place.label), f"{place.num_files:,}"),
            *(decimal(size) if size else "-" for size in (*sizes, place.num_bytes)),
            "-" if usd is None else f"{usd:,.2f}",
        )
    if any(monthly_usd(place.kind, 0) is not None for place in known):
        table.caption = SOURCE
    return table


def speed_table(speeds: Sequence[Speed]) -> Table:
    """Return what was measured."""
    table = Table(title="speed of one reader", title_justify="left")
    for heading in ("place", "read by", "files", "ms a file", "p95 ms", "MB/s", "read"):
        left = heading in ("place", "read by")
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    for speed in speeds:
        names = (escape(speed.label), speed.where)
        if speed.problem:
            table.add_row(*names, *5 * ["-"])
            continue
        table.add_row(
            *(*names, str(speed.num_files), f"{speed.latency_ms:.2f}"),
            *(f"{speed.latency_p95_ms:.2f}", f"{speed.mb_per_s:,.0f}", decimal(speed.num_bytes)),
        )
    problems = [f"{speed.label}: {speed.problem}" for speed in speeds if speed.problem]
    latency = "ms a file: median time to open a file and read 4 KiB"
    table.caption = escape("\n".join([latency, *problems]))
    table.caption_justify = "left"
    return table


def _heading(place: Survey) -> str:
    if place.problem is not None:
        return f"[red]{escape(place.problem)}[/red]"
    size = f"{place.num_files:,} files, {decimal(place.num_bytes)}"
    return f"[bold]{escape(place.label)}[/bold]  {size}"


def _branch(parent: Tree, title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    branch = parent.add(title)
    for line in lines[:_MOST_LINES]:
        branch.add(line)
    if len(lines) > _MOST_LINES:
        branch.add(f"... and {len(lines) - _MOST_LINES:,} more")


def _edf_line(edf: EdfTree) -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in edf.by_split.items())
    where = f"{escape(edf.path)}: " if edf.path else ""
    return f"{where}{edf.num_edf:,} EDF{f' ({splits})' if splits else ''}, {decimal(edf.num_bytes)}"


def _cache_line(cache: StoredCache, corpus: KnownCorpus) -> str:
    counts = Counter(name.partition("/")[0] for name in cache.recordings)
    splits = ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if counts[split])
    said = judge(cache, corpus)
    colour = {True: "green", False: "yellow", None: "dim"}[said.complete]
    notes = [f"[{colour}]{escape(said.text)}[/{colour}]"]
    if cache.manifest != "current":
        notes.append(f"[yellow]manifest {cache.manifest}[/yellow]")
    if cache.num_unfinished:
        notes.append(f"[yellow]{cache.num_unfinished:,} unfinished files[/yellow]")
    what = f"{splits or 'no recordings'}, {decimal(cache.num_bytes)}"
    return f"{escape(cache.path)}: {what}; {', '.join(notes)}"


def _run_line(run: StoredRun) -> str:
    colour = "green" if run.state == "finished" and run.scored else "yellow"
    state = f"[{colour}]{run.state}{', scored' if run.scored else ''}[/{colour}]"
    checkpoints = f"{run.num_checkpoints} checkpoints {decimal(run.checkpoint_bytes)}"
    line = f"{escape(run.path or '.')}: {state}, {checkpoints} of {decimal(run.num_bytes)}"
    if not run.changed_s:
        return line
    return f"{line}, {datetime.fromtimestamp(run.changed_s, UTC):%Y-%m-%d %H:%M} UTC"


def _other_lines(others: Mapping[str, int]) -> list[str]:
    return [f"{escape(name)}: {decimal(num_bytes)}" for name, num_bytes in others.items()]
