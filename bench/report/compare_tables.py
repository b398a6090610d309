"""Tables of a comparison: who is how fast, and what it costs."""

from markdown import milliseconds, row_name, size, table

OWN = "perigee"


def unique(values):
    return list(dict.fromkeys(values))


def places(report):
    """(round trip, loss) in the order of the file."""
    return unique((cell["round_trip_seconds"], cell["loss"]) for cell in report["cells"])


def find(report, place, row, count):
    return next((cell for cell in report["cells"]
                 if (cell["round_trip_seconds"], cell["loss"]) == place
                 and row_name(cell) == row and cell["bytes"] == count), None)


def rows_of(report):
    return unique(row_name(cell) for cell in report["cells"])


def sizes_of(report):
    return unique(cell["bytes"] for cell in report["cells"])


def best(report, place, count):
    """The fastest row's median at a place, None where nobody ended."""
    medians = [cell["seconds_p50"] for cell in report["cells"]
               if (cell["round_trip_seconds"], cell["loss"]) == place
               and cell["bytes"] == count and cell["seconds_p50"] is not None]
    return min(medians, default=None)


def cell_text(cell, limit, fastest):
    if cell["status"] != "measured":
        return f"> {limit:g} s" if cell["status"] == "over limit" else cell["status"]
    median = milliseconds(cell["seconds_p50"])
    if cell["seconds_p50"] == fastest:
        median = f"**{median}**"
    worst = cell["seconds_max"]
    text = f"{median} / {f'> {limit:g} s' if worst is None else milliseconds(worst)}"
    return text if cell["results_right"] and cell["bits_equal"] else text + " WRONG"


def times(report):
    """Median and worst op; the fastest median of each column and place is bold."""
    limit = report["parameters"]["limit_seconds"]
    sizes = sizes_of(report)
    lines = []
    for place in places(report):
        for row in rows_of(report):
            cells = [find(report, place, row, count) for count in sizes]
            lines.append((f"{place[0] * 1e3:g} ms", f"{place[1] * 100:g} %", row,
                          *(cell_text(cell, limit, best(report, place, cell["bytes"]))
                            for cell in cells)))
    head = ("round trip", "loss", "peer", *(f"{size(count)}, ms" for count in sizes))
    missing = unique(f"{cell['peer']}: {cell['reason']}" for cell in report["cells"]
                     if cell["status"] in ("not installed", "failed"))
    return ("Median / worst op in milliseconds; bold: the fastest median.\n\n" + table(head, lines)
            + "".join(f"\n- {reason}" for reason in missing) + "\n")


def verdict(report):
    """Where Perigee wins and where it loses, counted, against the best of all others."""
    won, lost, unknown, worst = 0, 0, 0, (0, "")
    for place in places(report):
        for count in sizes_of(report):
            own = find(report, place, OWN, count)
            others = [cell["seconds_p50"] for cell in report["cells"]
                      if (cell["round_trip_seconds"], cell["loss"]) == place
                      and cell["bytes"] == count and cell["peer"] != OWN
                      and cell["seconds_p50"] is not None]
            if own is None or own["seconds_p50"] is None or not others:
                unknown += 1
                continue
            ratio = own["seconds_p50"] / min(others)
            won, lost = won + (ratio <= 1), lost + (ratio > 1)
            where = f"{size(count)}, {place[0] * 1e3:g} ms, {place[1] * 100:g} % loss"
            worst = max(worst, (ratio, where))
    text = f"Perigee has the fastest median in {won} of {won + lost} cells, and loses {lost}"
    if lost:
        text += f"; at worst it takes {worst[0]:.2f} times as long as the best peer ({worst[1]})"
    if unknown:
        text += f". {unknown} cells have nothing to compare"
    if not report.get("is_complete", True):
        text += ". The run was cut short by its time limit: not all rounds were run"
    return text + ".\n"


def costs(report):
    """CPU and bytes per row, at the largest size that was measured; over all places."""
    lines = []
    for row in rows_of(report):
        launches = [launch for launch in report["launches"] if row_name(launch) == row]
        overheads = [launch["wire_overhead"] for launch in launches
                     if launch["wire_overhead"] is not None]
        late = [launch["lateness_us_p99"] for launch in launches
                if launch["lateness_us_p99"] is not None]
        cpu = [cell["cpu_seconds_per_gb"] for cell in report["cells"]
               if row_name(cell) == row and cell["cpu_seconds_per_gb"] is not None
               and cell["bytes"] == sizes_of(report)[-1]]
        lines.append((row, span(cpu, "{:.1f}"), span(overheads, "{:.3f}"),
                      span([us / 1e3 for us in late], "{:.2f}")))
    return ("Least and most over all places: CPU seconds of all members per GB of the vector "
            "(largest size; without the kernel's receiving half), IP bytes on the links over "
            "2(N-1) vectors, and how late the emulator was (p99; from 2 ms on, this machine's CPUs "
            "are in the row's figures).\n\n"
            + table(("peer", "CPU s/GB", "bytes sent / ideal", "lateness, ms"), lines))


def span(values, form):
    if not values:
        return "not measured"
    return f"{form.format(min(values))} - {form.format(max(values))}"
