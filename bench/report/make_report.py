#!/usr/bin/python3
"""Makes a report with plots from the JSON files that perigee-bench writes.

    bench/report/make_report.py --out build/report compare.json faults.json train.json

Writes build/report/report.md and, beside it, each plot as SVG and as PNG. Every JSON file of
perigee-bench gets a section with its machine, versions, command and seed; comparisons, faults and
training sweeps get tables and plots. Needs matplotlib: Debian's python3-matplotlib.
"""

import argparse
import json
import os
import sys

import compare_tables
import fault_tables
from markdown import table

try:
    import matplotlib
    matplotlib.use("svg")
    import compare_plots
    import fault_plots
    import train_plots
except ImportError as error:
    sys.exit(f"make_report.py: {error} in {sys.executable}: run it with Debian's Python, "
             "/usr/bin/python3, after tests/install_packages.sh bench")

# What these fields hold is in the tables and plots.
BULKY = {"cells", "launches", "scenes", "points", "series", "seconds", "versions"}


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"make_report.py: {path}: {error}")
    if not isinstance(report, dict) or "command" not in report or "parameters" not in report:
        sys.exit(f"make_report.py: {path}: not a JSON object of perigee-bench")
    return report


def short(value):
    if value is None:
        return "not measured"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def provenance(path, report):
    """Where the figures are from: enough to make them again."""
    parameters = dict(report["parameters"])
    run = parameters.pop("run", None)
    machine = report["machine"]
    rows = [("file", f"`{os.path.basename(path)}`"),
            ("command", f"`{run}`" if run else f"`perigee-bench {report['command']}`"),
            ("seed", short(report["seed"])),
            ("version", report["version"]),
            ("machine", f"{machine['cores']} cores, Linux {machine['kernel']}"),
            ("CPU of others meanwhile",
             f"{short(machine['foreign_cpu_seconds'])} s, and {short(machine['steal_cpu_seconds'])}"
             " s stolen by the hypervisor")]
    rows += [(f"version of {name}", version)
             for name, version in report.get("versions", {}).items()]
    rows += [(name.replace("_", " "), short(value)) for name, value in parameters.items()]
    return table(("", ""), rows)


def plain(report):
    known = {"command", "version", "seed", "parameters", "machine"} | BULKY
    return table(("field", "value"), [(name, short(value)) for name, value in report.items()
                                      if name not in known])


def section(path, report, out):
    """The Markdown of one file; its plots are written to `out`."""
    stem = os.path.splitext(os.path.basename(path))[0]
    lines = [f"## {report['command']}: {stem}", "", provenance(path, report)]
    if report["command"] == "compare" and report.get("mode") == "sweep":
        lines += [compare_tables.verdict(report), compare_tables.times(report),
                  compare_tables.costs(report)]
        lines += compare_plots.write_all(report, out, stem)
    elif report["command"] == "compare":
        lines += [fault_tables.outcomes(report)] + fault_plots.write_all(report, out, stem)
    elif "points" in report:
        lines += [train_plots.points_table(report)] + train_plots.write_all(report, out, stem)
    else:
        lines.append(plain(report))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", required=True, help="folder of the report; it is made")
    parser.add_argument("files", nargs="+", metavar="FILE.json")
    options = parser.parse_args()
    reports = [(path, load(path)) for path in options.files]
    # The user's first question is what a training run gets.
    reports.sort(key=lambda item: item[1]["command"] != "train")
    os.makedirs(options.out, exist_ok=True)
    sections = [section(path, report, options.out) for path, report in reports]
    with open(os.path.join(options.out, "report.md"), "w", encoding="utf-8") as file:
        file.write("# Measurements of Perigee\n\n" + "\n".join(sections))
    print(os.path.join(options.out, "report.md"))


if __name__ == "__main__":
    main()
