"""Plots of a comparison: goodput against loss, op times side by side, and their distribution."""

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from compare_tables import OWN, find, places, rows_of, sizes_of, unique
from markdown import row_name, size
from style import look, save


def plain_log(axis):
    """Logarithmic, with numbers as people write them."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(figure, grid, columns, height):
    """One for all panels: a row need not be in each."""
    labels = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            labels.setdefault(label, handle)
    figure.legend(labels.values(), labels.keys(), loc="upper center", ncol=columns,
                  bbox_to_anchor=(0.5, height))


def congestions(report):
    return unique(cell["congestion"] for cell in report["cells"] if cell["congestion"])


def measured_rows(report, congestion):
    """Rows with figures: Perigee, and those over TCP with this congestion control."""
    have = {row_name(cell) for cell in report["cells"] if cell["seconds"]
            and cell["congestion"] in (None, congestion)}
    return [row for row in rows_of(report) if row in have]


def ceilings(report, losses):
    """(label, line style, Mbit/s per loss): one ring, and all links of a full mesh at once."""
    nodes = report["parameters"]["nodes"]
    rate = report["parameters"]["rate_bps"] / 1e6
    return [("one ring's limit", (0, (1, 1)),
             [rate * nodes / (2 * (nodes - 1)) * (1 - loss) for loss in losses]),
            ("all links' limit", (0, (6, 2)), [rate * nodes / 2 * (1 - loss) for loss in losses])]


def draw_goodput(axes, report, round_trip, count, congestion):
    losses = unique(loss for trip, loss in places(report) if trip == round_trip)
    ticks = range(len(losses))
    for label, line, values in ceilings(report, losses):
        axes.plot(ticks, values, color="0.6", linestyle=line, linewidth=1, label=label)
    for number, row in enumerate(measured_rows(report, congestion)):
        cells = [find(report, (round_trip, loss), row, count) for loss in losses]
        values = [cell["algbw_bps"] / 1e6 if cell["algbw_bps"] else float("nan")
                  for cell in cells]
        style = look(cells[0]["peer"])
        axes.plot(ticks, values, label=row, **style)
        # A cross at the bottom, one beside the other: cut at the limit.
        cut = [tick + 0.06 * (number - 3) for tick, cell in zip(ticks, cells)
               if cell["status"] == "over limit"]
        axes.plot(cut, [0.03] * len(cut), linestyle="", marker="x", color=style["color"],
                  markersize=6, transform=axes.get_xaxis_transform())
    axes.set_xticks(list(ticks), [f"{loss * 100:g}" for loss in losses])
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    axes.set_ylim(bottom=axes.get_ylim()[0] / 1.6)  # room for the crosses
    axes.set_title(f"{size(count)}, round trip {round_trip * 1e3:g} ms")


def goodput(report, out, stem, congestion):
    trips = unique(trip for trip, _ in places(report))
    sizes = sizes_of(report)
    figure, grid = plt.subplots(len(trips), len(sizes), squeeze=False, sharex=True,
                                figsize=(3.2 * len(sizes), 3 * len(trips)))
    for line, trip in zip(grid, trips):
        line[0].set_ylabel("vector bits / median time, Mbit/s")
        for axes, count in zip(line, sizes):
            draw_goodput(axes, report, trip, count, congestion)
    for axes in grid[-1]:
        axes.set_xlabel("loss per link, %")
    figure.tight_layout()
    legend(figure, grid, 5, 0.01)
    rate = report["parameters"]["rate_bps"] / 1e9
    return save(figure, out, f"{stem}-goodput-{congestion}",
                f"Goodput against loss, TCP with {congestion}; {report['parameters']['nodes']} "
                f"nodes, {rate:g} Gbit/s per directed link; x: over "
                f"{report['parameters']['limit_seconds']:g} s")


def draw_side_by_side(axes, report, place, count):
    rows = [row for row in reversed(rows_of(report)) if find(report, place, row, count)["seconds"]]
    limit = report["parameters"]["limit_seconds"] * 1e3
    for height, row in enumerate(rows):
        cell = find(report, place, row, count)
        style = look(cell["peer"])
        if cell["seconds_p50"] is None:
            axes.plot(limit, height, marker="x", color="0.2", markersize=7)
            continue
        median, worst = cell["seconds_p50"] * 1e3, cell["seconds_max"]
        worst = limit if worst is None else worst * 1e3
        axes.plot([median, worst], [height, height], color="0.5", linewidth=1)
        axes.plot(worst, height, marker="|", color="0.3", markersize=9)
        axes.plot(median, height, marker=style["marker"], color=style["color"], markersize=6)
    axes.set_yticks(range(len(rows)), rows)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == OWN else "normal")
    axes.set_xscale("log")
    plain_log(axes.xaxis)
    axes.set_xlabel("op time, ms")
    axes.set_title(f"{size(count)}, {place[1] * 100:g} % loss")


def side_by_side(report, out, stem, round_trip):
    chosen = [place for place in places(report) if place[0] == round_trip]
    sizes = sizes_of(report)
    height = 0.22 * len(rows_of(report)) + 0.9
    figure, grid = plt.subplots(len(chosen), len(sizes), squeeze=False, sharey="row",
                                figsize=(3.2 * len(sizes) + 1, height * len(chosen)))
    for line, place in zip(grid, chosen):
        for axes, count in zip(line, sizes):
            draw_side_by_side(axes, report, place, count)
    figure.tight_layout()
    return save(figure, out, f"{stem}-peers-{round_trip * 1e3:g}ms",
                f"Peers side by side, round trip {round_trip * 1e3:g} ms: median (marker) to worst "
                f"op (bar); x: over {report['parameters']['limit_seconds']:g} s")


def draw_distribution(axes, report, place, count, congestion):
    for row in measured_rows(report, congestion):
        cell = find(report, place, row, count)
        times = sorted(s * 1e3 for s in cell["seconds"] if s is not None)
        if not times:
            continue
        # What was cut is part of the distribution: its curve ends below 1.
        shares = [(i + 1) / len(cell["seconds"]) for i in range(len(times))]
        axes.step([times[0], *times], [0, *shares], where="post", label=row,
                  **{**look(cell["peer"]), "markersize": 3})
    axes.set_xscale("log")
    plain_log(axes.xaxis)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("op time, ms")
    axes.set_title(f"{place[1] * 100:g} % loss")


def distribution(report, out, stem, congestion):
    """Of the smallest size: it has the most ops, and a lost packet delays it most."""
    trip, count = places(report)[0][0], sizes_of(report)[0]
    chosen = [place for place in places(report) if place[0] == trip]
    figure, grid = plt.subplots(1, len(chosen), squeeze=False, sharey=True,
                                figsize=(3.2 * len(chosen), 2.8))
    for axes, place in zip(grid[0], chosen):
        draw_distribution(axes, report, place, count, congestion)
    grid[0][0].set_ylabel("share of ops that are done")
    figure.tight_layout()
    legend(figure, grid, 7, 0.02)
    return save(figure, out, f"{stem}-distribution-{congestion}",
                f"Distribution of op times, {size(count)}, round trip {trip * 1e3:g} ms, TCP with "
                f"{congestion}")


def write_all(report, out, stem):
    """Markdown with all plots."""
    pictures = []
    for congestion in congestions(report) or [""]:
        pictures.append(goodput(report, out, stem, congestion))
        pictures.append(distribution(report, out, stem, congestion))
    for trip in unique(trip for trip, _ in places(report)):
        pictures.append(side_by_side(report, out, stem, trip))
    return pictures
