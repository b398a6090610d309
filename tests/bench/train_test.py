#!/usr/bin/env python3
"""A tiny sweep of `perigee-bench train`: real members, each point checked bit for bit.

    train_test.py PATH_OF_PERIGEE_BENCH
"""

import json
import subprocess
import sys
import unittest


def run(*flags):
    return subprocess.run([PROGRAM, "train", *flags], capture_output=True, text=True, timeout=240,
                          check=False)


class TrainTest(unittest.TestCase):
    def test_each_loss_is_a_point_and_costs_no_bit(self):
        done = run("--loss", "0,3%", "--nodes", "2", "--steps", "5", "--microbatches", "2",
                   "--delay", "1ms", "--json", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        points = json.loads(done.stdout)["points"]
        self.assertEqual([point["loss"] for point in points], [0, 0.03])
        for point in points:
            self.assertEqual((point["steps_lost"], point["samples_lost"]), (0, 0))
            self.assertGreater(point["samples_per_second_fault_free"], 0)
        self.assertEqual(points[0]["digest"], points[1]["digest"])

    def test_a_loss_that_is_none_is_refused_before_anything_runs(self):
        done = run("--loss", "1%,often")
        self.assertEqual(done.returncode, 2)
        self.assertIn("often", done.stderr)
        self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
