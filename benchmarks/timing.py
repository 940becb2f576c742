"""What took how long, and by how much longer than something else."""

import numpy as np

from eca_keras.profiling.timing import quartiles


def timing(wall, cpu, i, names):
    """Summarises the rounds of one of several that took turns.

    Args:
        wall, cpu: Wall-clock and processor seconds, arrays of shape
            `(rounds, contestants)`.
        i: Index of the one.
        names: Library and attention of each; the first is from this library.

    Returns:
        Dictionary of the fields of `NetworkSpeed` from `seconds` on.
    """
    library, attention = names[i]
    first = [name for name, _ in names].index(library)
    same = names.index((names[0][0], attention))
    lower, seconds, upper = quartiles(wall[:, i])
    ratios = quartiles(wall[:, i] / wall[:, first])
    library_ratios = quartiles(wall[:, i] / wall[:, same])
    return {
        "seconds": seconds,
        "seconds_lower": lower,
        "seconds_upper": upper,
        "cpu_seconds": float(np.median(cpu[:, i])),
        "ratio": ratios[1],
        "ratio_lower": ratios[0],
        "ratio_upper": ratios[2],
        "cpu_ratio": float(np.median(cpu[:, i] / cpu[:, first])),
        "library_ratio": library_ratios[1],
        "library_ratio_lower": library_ratios[0],
        "library_ratio_upper": library_ratios[2],
    }
