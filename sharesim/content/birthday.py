"""The birthday law: how many of so many different contents share a digest with another.

Exact for an ideal function, whose digests are independent and equally likely (W. Feller, An
Introduction to Probability Theory and Its Applications I, 3rd edition, 1968, II.3 and IV.2).
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Birthday:
    """``pages`` different contents under a digest of ``bits`` bits (2 or more).

    *Pairs* are two contents with one digest. *Repeats* are contents whose digest an earlier one
    has: as many as a scanner that trusts digests merges wrongly, since it keeps the first.
    """

    pages: int
    bits: int

    def __post_init__(self) -> None:
        if self.pages < 0 or self.bits < 2:
            raise ValueError(f"no birthday law for {self.pages} contents and {self.bits} bits")

    @property
    def _cells(self) -> float:
        return 2.0**self.bits

    @property
    def _log_empty(self) -> float:
        """Logarithm of the probability that no content has a given digest."""
        return self.pages * math.log1p(-1 / self._cells)

    @property
    def pairs(self) -> float:
        """Expected colliding pairs, n (n - 1) / 2^(b + 1)."""
        return self.pages * (self.pages - 1) / 2 / self._cells

    @property
    def pairs_spread(self) -> float:
        """Their standard deviation. Any two pairs are independent, even two that overlap."""
        return math.sqrt(self.pairs * (1 - 1 / self._cells))

    @property
    def repeats(self) -> float:
        """Expected repeats: contents less the expected number of digests that occur."""
        return self.pages + self._cells * math.expm1(self._log_empty)

    @property
    def repeats_spread(self) -> float:
        """Their standard deviation, which is that of the number of digests that occur.

        Its variance is m (m - 1) q + m p - m² p² where p is the probability that one given digest
        is missing and q that two are; q / p² = (1 - 1 / (m - 1)²)^n keeps it from cancelling.
        """
        cells, missing = self._cells, math.exp(self._log_empty)
        both = math.expm1(self.pages * math.log1p(-1 / (cells - 1) ** 2))
        one = cells * missing * -math.expm1(self._log_empty)
        return math.sqrt(max(0.0, cells * (cells - 1) * missing**2 * both + one))

    @property
    def chance(self) -> float:
        """Probability that any two collide."""
        if self.pages > self._cells:
            return 1.0
        apart = np.log1p(-np.arange(self.pages, dtype=np.float64) / self._cells).sum()
        return float(-np.expm1(apart))


def even_odds(bits: int) -> int:
    """The fewest contents of which two collide with a probability of one half or more."""
    pages = round(math.sqrt(2 * math.log(2) * 2.0**bits))
    while Birthday(pages, bits).chance < 0.5:
        pages += 1
    while pages > 0 and Birthday(pages - 1, bits).chance >= 0.5:
        pages -= 1
    return pages
