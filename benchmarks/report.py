"""What a check says: figures as they are measured, and claims that hold or do not. Lines are printed at once, a long run shows its way."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence


class Report:
    """The lines of one check. ``failures`` holds the claims that did not hold; a check has passed when there are none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.claims = 0
        self.failures: list[str] = []

    def heading(self, text: str) -> None:
        """Begin a part of the check."""
        self._print(f"\n{text}")

    def figure(self, text: str) -> None:
        """Something measured, or said, that is not itself a claim."""
        self._print(f"       {text}")

    def claim(self, text: str, holds: bool, detail: str = "") -> bool:
        """Print PASS or FAIL, the claim, and the figures it stands on; returns ``holds``."""
        self.claims += 1
        if not holds:
            self.failures.append(text)
        self._print(f"{'PASS' if holds else 'FAIL'}   {text}{': ' if detail else ''}{detail}")
        return holds

    def verdict(self) -> bool:
        """Print the sum of the check and return whether it passed. A check without a claim has not passed."""
        passed = not self.failures and self.claims > 0
        self._print(
            f"\n{self.name}: {'PASS' if passed else 'FAIL'} ({self.claims - len(self.failures)} of {self.claims} claims hold)"
        )
        return passed

    @staticmethod
    def _print(text: str) -> None:
        print(text)
        sys.stdout.flush()


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median and extremes of a series, for people: ``2114 (1987 to 2201, n=7)``."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f}, n={len(values)})"
