"""Markdown, and the words of a row."""


def table(head, rows):
    """Cells are made text; a bar inside one would end it."""
    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows), ""])


def picture(name, caption):
    return f"![{caption}]({name}.svg)\n\n{caption} ([PNG]({name}.png))\n"


def size(count):
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count} B"


def row_name(entry):
    """"gloo-hd bbr" of a cell, a launch or a scene."""
    return entry["peer"] + (f" {entry['congestion']}" if entry["congestion"] else "")


def milliseconds(seconds):
    return f"{seconds * 1e3:.1f}" if seconds < 0.01 else f"{seconds * 1e3:.0f}"
