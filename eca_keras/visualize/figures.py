"""Figures of channel weights, kernels and heat maps.

Every function returns a `matplotlib.figure.Figure`: no display, no global
state.
"""

import math

import numpy as np

from eca_keras.visualize.gates import class_means

# Colours of Okabe and Ito, which the colour-blind can tell apart, without the
# pale ones.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MAX_CLASSES = len(COLOURS)

COLUMNS = (4, 3)  # panels in a row: whichever leaves fewer of them empty
PANEL = (3.1, 2.0)  # width and height in inches
BINS = 50
SHOWN_CHANNELS = 64  # more zigzags would cover each other
TITLE_LENGTH = 30

# From dark to light in equal steps, for the colour-blind too; its fraction of
# the colour of a pixel; the grey that the black of an image becomes.
HEAT = "viridis"
HEAT_FRACTION = 0.65
BLACK = 0.3


def channel_weights_figure(weights, labels, classes):
    """Draw the mean channel weights of classes, a panel per layer.

    Args:
        weights: List of `ChannelWeights`.
        labels: Label of each image.
        classes: Dictionary of up to `MAX_CLASSES` labels to their names.
    """
    rows, columns = _legend_grid(classes.values(), len(weights))
    figure, panels = _panels(len(weights), above=0.3 + 0.2 * rows)
    for axes, each in zip(panels, weights, strict=True):
        means = class_means(each.gates, labels, list(classes))
        channels = _shown_channels(means.shape[1])
        for row, name, colour, style in zip(
            means, classes.values(), COLOURS, STYLES, strict=False
        ):
            line = {"color": colour, "ls": style, "lw": 1.1}
            axes.plot(channels, row[channels], label=name, **line)
        title = _title(each.name)
        if len(channels) < means.shape[1]:
            title += f"\n{len(channels)} of {means.shape[1]} channels"
        axes.set_title(title)
        axes.margins(x=0.01)
    _shared_limits(panels, [each.gates for each in weights], labels, classes)
    _label(figure, panels, "channel", "channel weight")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        title="mean over the images of a class",
        title_fontsize=9,
    )
    return figure


def _shown_channels(count):
    """Return up to `SHOWN_CHANNELS` channels at equal distances."""
    step = math.ceil(count / SHOWN_CHANNELS)
    return np.arange(0, count, step)


def _legend_grid(names, panels):
    """Return rows and columns of a legend that is no wider than its figure."""
    names = list(names)
    # A letter takes 0.075 inches, a line and the space around it 0.6.
    entry = 0.075 * max(map(len, names)) + 0.6
    columns = min(len(names), max(1, int(_width(panels) / entry)))
    return math.ceil(len(names) / columns), columns


def _shared_limits(panels, gates, labels, classes):
    means = [class_means(each, labels, list(classes)) for each in gates]
    low = min(float(each.min()) for each in means)
    high = max(float(each.max()) for each in means)
    margin = 0.05 * (high - low) or 0.05
    for axes in panels:
        axes.set_ylim(low - margin, high + margin)


def stages_figure(stages):
    """Draw how the channel weights of each stage are distributed.

    Args:
        stages: What `by_stage` returns.
    """
    values = [
        np.concatenate([each.gates.ravel() for each in weights])
        for weights in stages.values()
    ]
    low = min(0.0, *(float(each.min()) for each in values))
    high = max(1.0, *(float(each.max()) for each in values))
    figure, panels = _panels(len(stages))
    for number, (axes, (positions, weights), each) in enumerate(
        zip(panels, stages.items(), values, strict=True), 1
    ):
        counts, edges = np.histogram(each, BINS, (low, high))
        percentages = 100 * counts / counts.sum()
        axes.stairs(percentages, edges, fill=True, color=COLOURS[0])
        median = float(np.median(each))
        axes.axvline(median, color=COLOURS[1], ls="--", lw=1.2)
        size = " x ".join(map(str, positions))
        axes.set_title(
            f"stage {number}: {size}, {_count(weights)}\n"
            f"median {median:.3f} (dashed)",
            fontsize=8,
        )
        axes.set_xlim(low, high)
    tallest = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, tallest)
    _label(figure, panels, "channel weight", "weights (%)")
    return figure


def _count(weights):
    return f"{len(weights)} layer{'s' * (len(weights) > 1)}"


def kernels_figure(kernels):
    """Draw the kernels along the channels, a panel per layer.

    Args:
        kernels: What `channel_kernels` returns. Of a kernel that differs by
            channel the mean over the channels is shown, with its standard
            deviation.
    """
    figure, panels = _panels(len(kernels))
    reach = max(len(kernel) // 2 for kernel in kernels.values())
    for axes, (name, kernel) in zip(panels, kernels.items(), strict=True):
        spread = None
        if kernel.ndim == 2:
            kernel, spread = kernel.mean(axis=1), kernel.std(axis=1)
        offsets = np.arange(len(kernel)) - len(kernel) // 2
        axes.bar(offsets, kernel, 0.7, yerr=spread, capsize=2, color=COLOURS[0])
        axes.axhline(0, color="black", lw=0.8)
        axes.set_title(_title(name))
        axes.set_xticks(range(-reach, reach + 1))
        axes.set_xlim(-reach - 0.6, reach + 0.6)
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)
    _label(figure, panels, "neighbour (channels from its own)", "weight")
    return figure


def grad_cam_figure(images, maps, titles, columns):
    """Draw images beside themselves with their heat maps on top.

    Args:
        images: uint8 array of shape `(images, height, width, channels)`.
        maps: Array of shape `(images, height, width)`, between 0 and 1.
        titles: One `(class, prediction)` per image.
        columns: Pairs per row.
    """
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    rows = math.ceil(len(images) / columns)
    # With the colour bar, and a line of text over each row.
    figure = Figure((3.3 * columns + 0.8, 1.95 * rows), layout="constrained")
    panels = figure.subplots(rows, 2 * columns, squeeze=False)
    colours = matplotlib.colormaps[HEAT]
    for (plain, marked), image, heat, (truth, guess) in zip(
        panels.reshape(-1, 2), images, maps, titles, strict=False
    ):
        plain.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        grey = image.mean(axis=-1) / 255
        marked.imshow(_mixed(colours(heat)[..., :3], grey[..., None]))
        plain.set_title(_short(truth, 18), fontsize=8)
        marked.set_title(_short(guess, 24), fontsize=8)
    for axes in panels.ravel():
        axes.set_axis_off()
    # The colours as they are over a medium grey.
    scale = _mixed(colours(np.linspace(0, 1, 256))[:, :3], 0.5)
    bar = figure.colorbar(
        ScalarMappable(cmap=ListedColormap(scale)),
        ax=panels[:, -1].tolist(),
        fraction=0.1,
        aspect=10 * rows,
    )
    bar.set_label("Grad-CAM (1: largest)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _mixed(colours, grey):
    """Lay colours over grey; both between 0 and 1."""
    grey = BLACK + (1 - BLACK) * grey
    return HEAT_FRACTION * colours + (1 - HEAT_FRACTION) * grey


def _columns(count):
    return min(count, min(COLUMNS, key=lambda columns: -count % columns))


def _width(count):
    """Return the width in inches of a figure with `count` panels."""
    return PANEL[0] * max(_columns(count), 2)  # of one, for the words too


def _panels(count, above=0):
    """Make a figure with `count` panels in rows and room above, in inches."""
    from matplotlib.figure import Figure

    columns = _columns(count)
    rows = math.ceil(count / columns)
    size = (_width(count), PANEL[1] * rows + 0.4 + above)
    figure = Figure(size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in panels[count:]:
        axes.remove()
    for axes in panels[:count]:
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=7)
    return figure, panels[:count]


def _label(figure, panels, x, y):
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(y, fontsize=9)
    for axes in panels:
        axes.title.set_fontsize(8)


def _title(name):
    """Return the end of a name that is too long for a panel."""
    if len(name) > TITLE_LENGTH:
        return "..." + name[3 - TITLE_LENGTH :]
    return name


def _short(text, length):
    return text if len(text) <= length else text[: length - 3] + "..."
