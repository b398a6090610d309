"""Time line of a fault: what every member does before and after it, peer by peer."""

import matplotlib.pyplot as plt

from markdown import row_name
from style import save

BEFORE = 4  # seconds shown before the strike
MARGIN = 1.25


def horizon(scenes):
    """Until the last watch ended; one that hangs is shown only a little longer than the others."""
    known = [survivor[field] for scene in scenes for survivor in scene["survivors"]
             for field in ("goes_on_seconds", "gave_up_seconds", "noticed_seconds")
             if survivor[field] is not None]
    watched = max(scene["watched_seconds"] for scene in scenes)
    return min(watched, max(known, default=5) * MARGIN + 2)


def draw_member(axes, scene, rank, height):
    survivor = next((one for one in scene["survivors"] if one["rank"] == rank), None)
    ops = [op for op in scene["timeline"] if op["rank"] == rank]
    end = scene["watched_seconds"]
    if survivor and survivor["gave_up_seconds"] is not None:
        end = survivor["gave_up_seconds"]
    spoilt = survivor is not None and survivor["outcome"] != "goes on"
    for number, op in enumerate(ops):
        unfinished = op["ended"] is None
        ended = end if unfinished else op["ended"]
        axes.barh(height, ended - op["began"], left=op["began"], height=0.62, edgecolor="0.25",
                  linewidth=0.5, color="white" if unfinished else ("0.55", "0.8")[number % 2],
                  hatch="////" if unfinished and spoilt else None,
                  alpha=1 if survivor else 0.4)


def draw_scene(axes, scene, end):
    members = sorted({op["rank"] for op in scene["timeline"]})
    for rank in members:
        draw_member(axes, scene, rank, len(members) - 1 - rank)
    for survivor in scene["survivors"]:
        height = len(members) - 1 - survivor["rank"]
        if survivor["noticed_seconds"] is not None:
            axes.plot(survivor["noticed_seconds"], height, marker="v", color="black",
                      markersize=6, linestyle="")
        if survivor["gave_up_seconds"] is not None:
            axes.plot(survivor["gave_up_seconds"], height, marker="X", color="black",
                      markersize=8, linestyle="")
    axes.axvline(0, color="black", linewidth=1.2, linestyle="--")
    labels = [f"{rank} (struck)" if rank == scene["victim"] else str(rank) for rank in members]
    axes.set_yticks([len(members) - 1 - rank for rank in members], labels)
    axes.set_xlim(-BEFORE, end)
    axes.set_ylabel(row_name(scene), fontweight="bold")
    axes.grid(axis="y", visible=False)


def timeline(report, out, stem, name):
    scenes = [scene for scene in report["scenes"]
              if scene["scene"] == name and scene["failure"] is None]
    end = horizon(scenes)
    figure, grid = plt.subplots(len(scenes), 1, squeeze=False, sharex=True,
                                figsize=(9, 1.25 * len(scenes) + 0.5))
    for axes, scene in zip(grid[:, 0], scenes):
        draw_scene(axes, scene, end)
    if name == "outage":
        for axes in grid[:, 0]:
            axes.axvspan(0, report["parameters"]["outage_seconds"], color="0.9", zorder=0)
    grid[-1][0].set_xlabel("seconds after the strike")
    figure.tight_layout()
    return save(figure, out, f"{stem}-{name}",
                f"{name}: members over time. Bars: allreduces, in turn dark and light; white: "
                "still running when the watch ended; hatched: will not end well; triangle: has "
                "noticed; cross: has given up with an error; pale: the struck member")


def write_all(report, out, stem):
    names = dict.fromkeys(scene["scene"] for scene in report["scenes"]
                          if scene["failure"] is None)
    return [timeline(report, out, stem, name) for name in names]
