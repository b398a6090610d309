#!/usr/bin/env python3
"""Tiny runs of `perigee-bench control`: real members die, the others agree on a view without them.

    control_test.py PATH_OF_PERIGEE_BENCH
"""

import json
import subprocess
import sys
import unittest


def run(*flags):
    return subprocess.run([PROGRAM, "control", *flags], capture_output=True, text=True,
                          timeout=240, check=False)


class ControlTest(unittest.TestCase):
    def check_kills(self, *flags):
        done = run("--nodes", "4", "--kills", "2", *flags, "--json", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(len(report["adopted_ms"]), 2)
        for milliseconds in report["adopted_ms"]:
            self.assertGreater(milliseconds, 0)

    def test_the_others_adopt_a_view_and_the_dead_come_back(self):
        self.check_kills()

    def test_without_a_coordinator_the_others_agree_by_themselves(self):
        self.check_kills("--coordinator-away")

    def test_more_kills_than_a_job_without_newcomers_can_bear_are_refused(self):
        done = run("--nodes", "4", "--kills", "3", "--coordinator-away")
        self.assertEqual(done.returncode, 2)
        self.assertIn("leave two", done.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
