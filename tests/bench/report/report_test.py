#!/usr/bin/env python3
"""bench/report over small files that perigee-bench wrote (samples/): sections, figures, pictures.

    report_test.py MAKE_REPORT.py
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")


def sample(name):
    with open(os.path.join(SAMPLES, name), encoding="utf-8") as file:
        return json.load(file)


class ReportTest(unittest.TestCase):
    def make(self, *paths):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        return subprocess.run([sys.executable, SCRIPT, "--out", self.folder.name, *paths],
                              capture_output=True, text=True, timeout=280)

    def make_good(self, *names):
        done = self.make(*(os.path.join(SAMPLES, name) for name in names))
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.folder.name, "report.md"), encoding="utf-8") as file:
            return file.read()

    def make_of(self, report):
        """From a changed report."""
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(report, file)
            file.flush()
            done = self.make(file.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.folder.name, "report.md"), encoding="utf-8") as file:
            return file.read()

    def test_every_picture_is_there_in_both_forms(self):
        text = self.make_good("sweep.json", "faults.json")
        names = re.findall(r"\(([^)]+)\.svg\)", text)
        self.assertGreaterEqual(len(names), 4)
        for name in names:
            for suffix, begin in (("svg", b"<?xml"), ("png", b"\x89PNG")):
                with open(os.path.join(self.folder.name, f"{name}.{suffix}"), "rb") as file:
                    self.assertEqual(file.read(len(begin)), begin)

    def test_every_row_stands_in_the_pictures(self):
        self.make_good("sweep.json")
        with open(os.path.join(self.folder.name, "sweep-peers-4ms.svg"), encoding="utf-8") as file:
            svg = file.read()
        for cell in sample("sweep.json")["cells"]:
            # matplotlib writes each text as a comment beside its outlines.
            self.assertEqual(f"<!-- {cell['peer']}" in svg, bool(cell["seconds"]), cell["peer"])
        for unit in ("op time, ms", "64 KiB, 1 % loss"):
            self.assertIn(f"<!-- {unit} -->", svg)

    def test_where_the_figures_are_from(self):
        text = self.make_good("sweep.json")
        report = sample("sweep.json")
        for fact in (report["parameters"]["run"], report["machine"]["kernel"],
                     f"| seed | {report['seed']} |", report["versions"]["tcp-8"]):
            self.assertIn(fact, text)

    def test_the_table_has_the_figures_of_the_file(self):
        text = self.make_good("sweep.json")
        cells = [cell for cell in sample("sweep.json")["cells"] if cell["status"] == "measured"]
        self.assertGreater(len(cells), 4)
        for cell in cells:
            median = cell["seconds_p50"] * 1e3
            number = f"{median:.1f}" if median < 10 else f"{median:.0f}"
            self.assertRegex(text, rf"\| {cell['peer']}[^|]*\|.*\b{re.escape(number)}\b")

    def test_what_was_not_measured_is_named(self):
        report = sample("sweep.json")
        for cell in report["cells"]:
            if cell["peer"] == "tcp-8":
                cell.update(status="over limit", seconds_p50=None, seconds_max=None,
                            seconds=[None], algbw_bps=None, cpu_seconds_per_gb=None)
        text = self.make_of(report)
        self.assertRegex(text, r"\| tcp-8 \w+ \| > 20 s \|")
        self.assertIn("pccl: not installed", text)

    def test_who_loses_is_said(self):
        report = sample("sweep.json")
        for cell in report["cells"]:
            if cell["seconds_p50"] is not None:
                cell["seconds_p50"] = 3.0 if cell["peer"] == "perigee" else 1.5
        text = self.make_of(report)
        self.assertIn("fastest median in 0 of 4 cells, and loses 4", text)
        self.assertIn("2.00 times", text)

    def test_a_fault_is_a_row(self):
        text = self.make_good("faults.json")
        for scene in sample("faults.json")["scenes"]:
            if scene["failure"] is None:
                outcome = scene["survivors"][0]["outcome"]
                self.assertRegex(text, rf"\| {scene['scene']} \| {scene['peer']}.*\| {outcome}")

    def test_training_points_come_first(self):
        points = [{"loss": loss, "samples_per_second": 90.0, "samples_per_second_fault_free": 100.0,
                   "samples_lost": 0, "steps_lost": 0} for loss in (0.0, 0.01)]
        report = {"command": "train", "version": "0", "seed": 1, "parameters": {},
                  "machine": sample("sweep.json")["machine"], "points": points}
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(report, file)
            file.flush()
            done = self.make(os.path.join(SAMPLES, "faults.json"), file.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.folder.name, "report.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertLess(text.index("## train"), text.index("## compare"))
        self.assertIn("samples.svg", text)

    def test_a_file_that_is_none_of_ours_is_one_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            file.write("[1, 2]")
            file.flush()
            done = self.make(file.name)
        self.assertEqual(done.returncode, 1)
        self.assertIn(file.name, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    SCRIPT = sys.argv.pop(1)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print(f"skipped: {sys.executable} has no matplotlib (tests/install_packages.sh bench)")
        sys.exit(77)
    unittest.main()
