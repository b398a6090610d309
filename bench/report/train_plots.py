"""Samples per second of a training job against loss, each point beside its fault-free twin."""

import matplotlib.pyplot as plt

from markdown import table
from style import save


def points_table(report):
    names = list(dict.fromkeys(name for point in report["points"] for name in point
                               if not isinstance(point[name], (list, dict))))
    return table(names, [[text(point.get(name)) for name in names] for point in report["points"]])


def text(value):
    if value is None:
        return "not measured"
    return f"{value:.6g}" if isinstance(value, float) else value


def write_all(report, out, stem):
    points = sorted(report["points"], key=lambda point: point["loss"])
    ticks = range(len(points))
    figure, axes = plt.subplots(figsize=(5, 3.2))
    for field, label, style in (
            ("samples_per_second_fault_free", "without faults",
             {"color": "0.55", "marker": "s", "linestyle": "--"}),
            ("samples_per_second", "with faults",
             {"color": "black", "marker": "o", "linestyle": "-"})):
        values = [point.get(field) for point in points]
        if any(value is not None for value in values):
            axes.plot(ticks, [float("nan") if value is None else value for value in values],
                      label=label, **style)
    axes.set_xticks(list(ticks), [f"{point['loss'] * 100:g}" for point in points])
    axes.set_xlabel("loss per link, %")
    axes.set_ylabel("samples per second")
    axes.set_ylim(bottom=0)
    axes.legend()
    return [save(figure, out, f"{stem}-samples", "Samples per second of training against loss")]
