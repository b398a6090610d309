"""How plots look: legible on grey paper, so every row has a marker and a line style of its own."""

import os

import matplotlib.pyplot as plt

from markdown import picture

plt.rcParams.update({
    "figure.dpi": 100, "savefig.dpi": 150, "font.size": 9, "axes.titlesize": 9,
    "axes.grid": True, "grid.color": "0.88", "axes.axisbelow": True, "legend.frameon": False,
    "svg.hashsalt": "perigee", "axes.spines.top": False, "axes.spines.right": False,
})

# From dark to light in grey, too.
_LOOKS = {
    "perigee": ("#000000", "o", "-", 2.2),
    "gloo-ring": ("#7a0177", "s", "--", 1.2),
    "gloo-hd": ("#c51b8a", "D", "-", 1.2),
    "tcp-1": ("#084594", "v", ":", 1.2),
    "tcp-8": ("#2171b5", "^", "-.", 1.2),
    "tcp-64": ("#6baed6", "<", "--", 1.2),
    "pccl": ("#d95f0e", "X", "-", 1.2),
}
_OTHER = ("#555555", "P", ":", 1.2)


def look(peer):
    colour, marker, line, width = _LOOKS.get(peer, _OTHER)
    return {"color": colour, "marker": marker, "linestyle": line, "linewidth": width,
            "markersize": 5}


def save(figure, out, name, caption):
    """Writes both pictures; the Markdown that shows them."""
    for suffix in ("svg", "png"):
        # Without a date, the same figures make the same file.
        metadata = {"Date": None} if suffix == "svg" else None
        figure.savefig(os.path.join(out, f"{name}.{suffix}"), bbox_inches="tight",
                       metadata=metadata)
    plt.close(figure)
    return picture(name, caption)
