"""A generated corpus in TUSZ v2 layout: real EDF, csv and csv_bi files, seeded, bytes reproducible.

It exists so that the whole program can be run, shown and tested without a data agreement. It is
made to be learnt: seizures evolve in frequency and space, and mimics of the same power do not.
Read `plan` (which files), `render` (which signals), `oddities` (which odd cases of TUSZ).
"""

from bgb.corpora.synthetic.broken import write_broken
from bgb.corpora.synthetic.corpus import GENERATOR_VERSION, MARKER, ensure_synthetic, plan_corpus
from bgb.corpora.synthetic.oddities import ODDITIES

__all__ = [
    "GENERATOR_VERSION",
    "MARKER",
    "ODDITIES",
    "ensure_synthetic",
    "plan_corpus",
    "write_broken",
]
