"""Tables on a terminal or in a pipe: nothing is cut off."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: "Table") -> None:
    """Print a table; one that is wider than the screen keeps its words whole, and its lines run on.

    A pipe counts as 80 columns, for which rich would shorten the very names one looks for.
    """
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    wide = console.options.update(width=10_000)
    console.width = max(console.width, Measurement.get(console, wide, table).minimum)
    console.print(table)
