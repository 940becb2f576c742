"""Means, intervals and tests over the seeds of a study."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95  # of the intervals; the tests use the rest of it


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: The mean, in the unit of the values.
        half: Half the width of its t-interval at `LEVEL`, `None` for fewer
            than two values.
        count: Number of values.
        p: Two-sided p of Student's t-test of a mean of zero, `None` for
            fewer than two values.
    """

    mean: float
    half: float | None
    count: int
    p: float | None

    @property
    def decided(self) -> bool:
        """Return whether the interval lies on one side of zero."""
        return self.half is not None and abs(self.mean) > self.half


def estimate(values: Iterable[float]) -> Estimate:
    """Return the `Estimate` of the mean of independent values.

    Args:
        values: Sequence of numbers, one per seed; at least one.
    """
    from scipy import stats

    array = np.asarray(list(values), "float64")
    count, mean = len(array), float(array.mean())
    if count < 2:
        return Estimate(mean, None, count, None)
    error = float(array.std(ddof=1)) / math.sqrt(count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    # Without any spread, Student's t is 0 / 0 or infinite.
    if error:
        p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    else:
        p = float(mean == 0)
    return Estimate(mean, half, count, p)


def paired(
    values: Mapping[int, float], others: Mapping[int, float]
) -> Estimate | None:
    """Return the `Estimate` of the mean difference of two rows.

    Args:
        values: Dictionary from seeds to numbers.
        others: The same of the row that is subtracted.

    Returns:
        `Estimate` over the seeds that both have, `None` if there are none.
    """
    seeds = sorted(set(values) & set(others))
    if not seeds:
        return None
    return estimate([values[seed] - others[seed] for seed in seeds])


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number, after Holm.

    A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6, 1979.

    Args:
        ps: Sequence of p-values; `None` for tests that were not made, which
            do not count.

    Returns:
        List of the corrected values, in the same order.

    Example:

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    made = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, i) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        corrected[i] = largest
    return corrected
