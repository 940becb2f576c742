"""The ECA-Net paper's Figure 1: networks as bubbles.

Across: parameters; up: accuracy, or speed where no accuracies are given; the
area of a bubble: multiply-accumulates.
"""

import csv
import math

from eca_keras.errors import InputError
from eca_keras.utils.figures import new_figure
from eca_keras.utils.figures import save_figure

COLUMNS = ("network", "attention", "top1")
# Of the largest bubble, in points squared.
LARGEST = 1500


def read_accuracies(path):
    """Read accuracies from a CSV file with the columns `COLUMNS`.

    Args:
        path: The file. `top1` is in percent; `attention` is `none` for a
            plain network.

    Returns:
        Dictionary from `(network, attention)` to percent.

    Raises:
        InputError: naming the line that is not as it has to be.
    """
    accuracies = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise InputError(
                f"`accuracy` must have the columns {', '.join(COLUMNS)}. "
                f"Received: {', '.join(reader.fieldnames or ())} in {path}"
            )
        for line in reader:
            try:
                top1 = float(line["top1"])
            except (TypeError, ValueError):
                top1 = -1
            if not 0 <= top1 <= 100:
                raise InputError(
                    "`accuracy` must have percentages in the column top1. "
                    f"Received: top1={line['top1']} in line "
                    f"{reader.line_num} of {path}"
                )
            accuracies[line["network"], line["attention"]] = top1
    return accuracies


def write_bubbles(rows, path, accuracies=None):
    """Draw networks of this library as bubbles.

    Args:
        rows: List of `NetworkSpeed`. Where there are no accuracies, the
            speed is that of the first task in it.
        path: The figure, such as `networks.png` or `.svg`. It only appears,
            or changes, once it is complete.
        accuracies: What `read_accuracies` returns. Networks that it does not
            have are left out.

    Raises:
        InputError: if the name of the file is not that of a figure, or no
            network is left.
    """
    points = _points(rows, accuracies)
    figure = new_figure((7, 5))
    axes = figure.subplots()
    most = max(row.macs for row, _ in points)
    for attention in dict.fromkeys(row.attention for row, _ in points):
        chosen = [each for each in points if each[0].attention == attention]
        # From small to large networks, as in the paper.
        chosen.sort(key=lambda each: each[0].parameters)
        across = [row.parameters / 1e6 for row, _ in chosen]
        up = [height for _, height in chosen]
        areas = [LARGEST * row.macs / most for row, _ in chosen]
        [line] = axes.plot(across, up, linewidth=1, alpha=0.6)
        colour = line.get_color()
        axes.scatter(across, up, areas, color=colour, alpha=0.45, linewidths=0)
        axes.scatter(across, up, 9, color=colour, label=attention)
    _name_networks(axes, points, most)
    axes.set_xlabel("trainable parameters, millions")
    axes.set_ylabel(_title(rows, accuracies))
    axes.margins(0.15)
    axes.legend(title="attention", frameon=False)
    axes.set_title(
        f"Area: multiply-accumulates (largest {most / 1e9:.2f} billion)",
        fontsize=10,
    )
    save_figure(figure, path)


def _points(rows, accuracies):
    """Pairs of a row and its height, one for each network of ours."""
    first = rows[0].task, rows[0].batch_size
    chosen = [
        row
        for row in rows
        if row.library == "eca-keras" and (row.task, row.batch_size) == first
    ]
    if accuracies is None:
        return [(row, row.images_per_second) for row in chosen]
    points = [
        (row, accuracies[row.network, row.attention])
        for row in chosen
        if (row.network, row.attention) in accuracies
    ]
    if not points:
        raise InputError(
            "`accuracy` must have one of the networks that were timed. "
            f"Received: {_listed(accuracies)}"
        )
    return points


def _listed(accuracies):
    pairs = [" ".join(pair) for pair in accuracies]
    return ", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else "")


def _name_networks(axes, points, most):
    """Write the name of each network once, above its highest bubble."""
    highest = {}
    for row, height in points:
        if height >= highest.get(row.network, (row, height))[1]:
            highest[row.network] = row, height
    for name, (row, height) in highest.items():
        radius = math.sqrt(LARGEST * row.macs / most / math.pi)
        axes.annotate(
            name,
            (row.parameters / 1e6, height),
            (0, radius + 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )


def _title(rows, accuracies):
    if accuracies is not None:
        return "top-1 accuracy, %"
    return f"images/s, {rows[0].task}, batches of {rows[0].batch_size}"
