"""Configuration of `python -m bgb.runs`."""

from dataclasses import dataclass

from bgb.config.check import not_negative, one_of, require
from bgb.config.option import option

SORT_KEYS = (
    *("started", "name", "state", "best", "event_f1", "sensitivity", "fp_per_day", "auroc"),
    *("seconds", "usd"),
)


@dataclass(frozen=True)
class RunsConfig:
    """`python -m bgb.runs`: list runs, compare two, remove what is not needed any more."""

    action: str = option("list", "list, compare or prune")
    results: str = option("runs", "folder that holds run folders")
    match: str = option("*", "list and prune only runs whose name fits, such as smoke-*")
    sort: str = option(
        "started", f"order of the list, best or newest first: {', '.join(SORT_KEYS)}"
    )
    out: str = option("table", "table, json or csv")
    runs: list[str] = option([], "the two runs to compare, as a list of names")
    remove: str = option(
        "checkpoints",
        "prune: checkpoints (all but best of finished runs), runs (whole, by match) or unfinished",
    )
    older_days: float = option(7.0, "least age of what remove=unfinished takes", unit="days")
    confirm: str | None = option(None, "prune: what the listing said; null = list, remove nothing")

    def __post_init__(self) -> None:
        one_of("action", self.action, ("list", "compare", "prune"))
        one_of("sort", self.sort, SORT_KEYS)
        one_of("out", self.out, ("table", "json", "csv"))
        one_of("remove", self.remove, ("checkpoints", "runs", "unfinished"))
        not_negative(older_days=self.older_days)
        compares = self.action == "compare"
        require(
            (len(self.runs) == 2) if compares else not self.runs,
            f"runs={self.runs}: action=compare takes two runs, runs=[a,b]; the other actions none, "
            "but match=<name or glob>",
        )
        require(
            self.confirm is None or self.action == "prune",
            f"confirm={self.confirm} is read by action=prune only",
        )
        require(
            self.action != "prune" or self.remove != "runs" or self.match != "*",
            "remove=runs takes whole runs: name them with match=<name or glob>",
        )
