#!/usr/bin/env python3
"""Tiny runs of `perigee-bench allreduce`: its JSON, its exit codes, and both clocks.

    allreduce_test.py PATH_OF_PERIGEE_BENCH
"""

import json
import subprocess
import sys
import unittest

FIELDS = {
    "command", "version", "seed", "parameters", "machine", "iterations", "seconds_p50",
    "seconds_p99", "algbw_bps", "busbw_bps", "wire_bytes", "retransmitted_bytes", "cpu_seconds",
    "oracle_equal", "digest_equal", "digest",
}


def run(*flags):
    return subprocess.run([PROGRAM, "allreduce", *flags], capture_output=True, text=True,
                          timeout=240)


def measure(*flags):
    done = run(*flags, "--json", "-")
    if done.returncode != 0:
        raise AssertionError(f"{flags}: exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


class AllReduceTest(unittest.TestCase):
    def check(self, report):
        self.assertEqual(set(report), FIELDS)
        self.assertIs(report["oracle_equal"], True)
        self.assertIs(report["digest_equal"], True)
        self.assertGreater(report["seconds_p50"], 0)

    def test_virtual_time(self):
        flags = ("--nodes", "3", "--bytes", "64KiB", "--iterations", "3", "--loss", "2%",
                 "--delay", "5ms")
        first, second = measure(*flags), measure(*flags)
        self.check(first)
        self.assertIsNone(first["cpu_seconds"])
        first.pop("machine"), second.pop("machine")
        self.assertEqual(first, second)

    def test_reproducible_bits_do_not_depend_on_the_losses(self):
        flags = ("--nodes", "4", "--bytes", "64KiB", "--iterations", "2", "--reproducible")
        clean, lossy = measure(*flags), measure(*flags, "--loss", "5%", "--delay", "10ms")
        self.assertEqual(clean["digest"], lossy["digest"])
        self.assertGreater(lossy["retransmitted_bytes"], 0)

    def test_processes(self):
        report = measure("--nodes", "2", "--bytes", "256KiB", "--iterations", "2",
                         "--clock", "real")
        self.check(report)
        self.assertGreater(report["cpu_seconds"], 0)

    def test_usage_errors_are_one_line_and_exit_2(self):
        for flags in (("--bytes", "3"), ("--loss", "100%"), ("--topology", "moon"),
                      ("--nodes", "0"), ("--clock", "sun")):
            done = run(*flags)
            self.assertEqual(done.returncode, 2, flags)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
