#!/usr/bin/env python3
"""A training job of real processes over emulated links: each member and the coordinator has a
network namespace of its own, and gRPC crosses the lossy links too. Skipped, with the emulator's own
words, where it may not create namespaces.

    netns_test.py PATH_OF_EXAMPLE_TRAIN PATH_OF_PERIGEE_LINKEMU
"""

import json
import subprocess
import sys
import unittest

NOT_ALLOWED = ("not permitted", "Permission denied", "/dev/net/tun")


class NetnsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        probe = subprocess.run([LINKEMU, "run", "--nodes", "2", "--above-ceiling", "--", "true"],
                               capture_output=True, text=True, timeout=120, check=False)
        if probe.returncode == 1 and any(word in probe.stderr for word in NOT_ALLOWED):
            raise unittest.SkipTest(probe.stderr.strip())

    def train(self, *flags):
        done = subprocess.run(
            [TRAIN, "--netns", "--nodes", "4", "--rate", "50Mbit", "--delay", "5ms",
             "--microbatches", "4", "--json", "-", *flags],
            capture_output=True, text=True, timeout=280, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_loss_in_the_network_costs_no_step_and_no_bit(self):
        clean = self.train("--steps", "8", "--faults", "none", "--loss", "0")
        lossy = self.train("--steps", "8", "--faults", "none", "--loss", "5%")
        self.assertEqual(lossy["steps_lost"], 0)
        self.assertEqual(lossy["samples_lost"], 0)
        self.assertGreater(lossy["packets_repaired"], 0)
        self.assertEqual(lossy["digest"], clean["digest"])

    def test_members_that_die_or_stop_cost_no_step_and_no_bit(self):
        job = self.train("--steps", "40", "--faults", "churn", "--loss", "1%", "--seed", "1")
        self.assertEqual(job["steps_lost"], 0)
        self.assertEqual(job["digest"], job["digest_without_faults"])
        self.assertTrue(job["faults"])


if __name__ == "__main__":
    TRAIN, LINKEMU = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
