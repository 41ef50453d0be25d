"""The clock of an EDF+ file: that its records follow each other, seen as they are read."""

import re
from fractions import Fraction
from math import nan
from pathlib import Path

from bgb.errors import EdfError

_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)[\x14\x15]")  # EDF+ 2.2.4: time-keeping TAL


class Clock:
    """Refuses records that do not follow each other, and finds the onset of the first.

    EDF+D must keep time in every record. In EDF+C (and plain EDF) the header vouches for what a
    record does not say, but a gap that its records do state is refused all the same.

    Attributes
    ----------
    first_s : when the first record begins, by the first that says so; 0 where none does.
    """

    def __init__(
        self, path: str | Path, *, record_s: Fraction, tolerance_s: Fraction, discontinuous: bool
    ) -> None:
        self._path, self._record_s, self._tolerance_s = path, record_s, tolerance_s
        self._rough_record_s, self._rough_tolerance_s = float(record_s), 0.9 * float(tolerance_s)
        self._rough_first_s = nan  # not known yet: nothing is right
        self._discontinuous = discontinuous
        self._num_records = 0
        self.first_s: Fraction | None = None

    def check(self, annotations: list[bytes]) -> None:
        """Look at the first annotation of each of the next records."""
        for annotation in annotations:
            match = _ONSET.match(annotation)
            # Floating point tells what is surely right in a tenth of the time of fractions.
            expected_s = self._rough_first_s + self._num_records * self._rough_record_s
            if match is None:
                if self._discontinuous:
                    raise self.silent()
            elif not abs(float(match[1]) - expected_s) < self._rough_tolerance_s:
                self._check(Fraction(match[1].decode()))
            self._num_records += 1

    def _check(self, onset_s: Fraction) -> None:
        since_first_s = self._num_records * self._record_s
        if self.first_s is None:
            self.first_s = onset_s - since_first_s
            self._rough_first_s = float(self.first_s)
        apart_s = onset_s - self.first_s - since_first_s
        if abs(apart_s) > self._tolerance_s:
            raise EdfError(
                f"{self._path}: {'a gap' if apart_s > 0 else 'an overlap'} of "
                f"{abs(float(apart_s)):g} s before record {self._num_records} (second "
                f"{float(since_first_s):g} of the samples): the file is discontinuous and its "
                "parts must not be joined; export it as one continuous EDF+C file for each part"
            )

    def silent(self) -> EdfError:
        """Return the error of a discontinuous file that does not keep time."""
        return EdfError(
            f"{self._path}: is EDF+D (discontinuous) but not every record says when it begins; "
            "export it as one continuous EDF+C file for each part"
        )
