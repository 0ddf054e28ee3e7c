"""All golden cases, by name."""

from tests.golden import (  # noqa: F401  (each registers its cases)
    cases_break,
    cases_cpu,
    cases_memory,
    cases_merge,
    cases_paravirtual,
    cases_paravirtual_race,
    cases_place,
    cases_race,
    cases_scan,
    cases_shadow,
)
from tests.golden.case import CASES

__all__ = ["CASES"]
