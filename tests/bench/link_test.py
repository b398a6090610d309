#!/usr/bin/env python3
"""Tiny runs of `perigee-bench link`: JSON, exit codes, and virtual time against known figures.

    link_test.py PATH_OF_PERIGEE_BENCH
"""

import json
import subprocess
import sys
import unittest

FIELDS = {
    "command", "version", "seed", "parameters", "machine", "goodput_bps", "goodput_fraction",
    "extra_rtt_mean", "extra_rtt_p99", "wire_overhead", "spurious_retransmit_fraction",
    "retransmitted_fraction", "resume_ms", "intact", "cpu_seconds_send", "cpu_seconds_receive",
}


def run(*flags):
    return subprocess.run([PROGRAM, "link", *flags], capture_output=True, text=True, timeout=120)


def measure(*flags):
    done = run(*flags, "--json", "-")
    if done.returncode != 0:
        raise AssertionError(f"{flags}: exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)  # fails where stdout holds anything else


class LinkTest(unittest.TestCase):
    def test_json_has_every_field(self):
        report = measure("--bytes", "64KiB", "--messages", "2")
        self.assertEqual(set(report), FIELDS)
        self.assertEqual(report["command"], "link")
        self.assertIs(report["intact"], True)
        self.assertIsNone(report["resume_ms"])
        self.assertIsNone(report["cpu_seconds_send"])

    def test_same_seed_same_figures(self):
        flags = ("--bytes", "256KiB", "--messages", "8", "--loss", "5%", "--burst-ms", "2")
        first, second = measure(*flags, "--seed", "7"), measure(*flags, "--seed", "7")
        other = measure(*flags, "--seed", "8")
        first.pop("machine"), second.pop("machine")
        self.assertEqual(first, second)
        self.assertNotEqual(first["extra_rtt_mean"], other["extra_rtt_mean"])

    def test_one_bandwidth_delay_product_without_coding(self):
        """A perfect selective repeat needs 0.98 T more at 1 %; ours waits for its ACKs on top."""
        report = measure("--bytes", "2.5MB", "--messages", "20", "--loss", "1%")
        self.assertGreater(report["goodput_fraction"], 0.95)
        self.assertGreater(report["extra_rtt_mean"], 0.7)
        self.assertLess(report["extra_rtt_mean"], 1.6)
        self.assertLess(report["wire_overhead"], 1.02)

    def test_no_loss_costs_nothing(self):
        report = measure("--bytes", "1MiB", "--messages", "4")
        self.assertLess(report["extra_rtt_mean"], 0.05)
        self.assertEqual(report["retransmitted_fraction"], 0)

    def test_outage(self):
        report = measure("--bytes", "1MiB", "--messages", "4", "--outage", "10ms:1s")
        self.assertIs(report["intact"], True)
        self.assertGreater(report["resume_ms"], 10)  # the way takes 10 ms
        self.assertEqual(report["parameters"]["outage"]["length_seconds"], 1)

    def test_real_clock(self):
        report = measure("--bytes", "256KiB", "--messages", "3", "--loss", "1%", "--delay", "1ms",
                         "--rate", "200Mbit", "--clock", "real")
        self.assertIs(report["intact"], True)
        self.assertGreater(report["cpu_seconds_send"], 0)
        self.assertGreater(report["cpu_seconds_receive"], 0)

    def test_usage_errors_are_one_line_and_exit_2(self):
        for flags in (("--coding", "on"), ("--outage", "1s"), ("--loss", "100%"), ("--bytes", "0"),
                      ("--messages", "0"), ("--clock", "sun"), ("--burst-ms", "-1"),
                      ("--loss", "50%", "--burst-ms", "1", "--burst-loss", "10%"), ("--nonsense",)):
            done = run(*flags)
            self.assertEqual(done.returncode, 2, flags)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertEqual(done.stdout, "")

    def test_an_outage_that_comes_too_late_is_an_error(self):
        done = run("--bytes", "4096", "--messages", "2", "--outage", "1h:1s")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--outage", done.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
