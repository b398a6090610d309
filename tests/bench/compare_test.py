#!/usr/bin/env python3
"""Small runs of `perigee-bench compare`: its fields, its exit codes, over loopback and, where the
machine allows namespaces, over emulated links.

    compare_test.py PATH_OF_PERIGEE_BENCH
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PEERS = "perigee,tcp-8"
CELL = {
    "peer", "congestion", "loss", "round_trip_seconds", "bytes", "status", "reason", "ops",
    "ops_over_limit", "seconds_p50", "seconds_p99", "seconds_max", "goodput_bps", "algbw_bps",
    "busbw_bps", "cpu_seconds_per_gb", "results_right", "bits_equal", "seconds",
}


def allowed_congestion():
    """One that any namespace may use."""
    with open("/proc/sys/net/ipv4/tcp_allowed_congestion_control", encoding="ascii") as file:
        return file.read().split()[0]


def members_of(folder):
    """Processes that were started with a path inside `folder`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                if folder in file.read():
                    found.append(pid)
        except OSError:
            continue  # it has just ended
    return found


def wait_until(case, condition):
    deadline = time.monotonic() + 60
    while not condition():
        case.assertLess(time.monotonic(), deadline)
        time.sleep(0.02)


def run(*flags):
    return subprocess.run([PROGRAM, "compare", *flags], capture_output=True, text=True,
                          timeout=280)


def measure(case, *flags):
    done = run("--congestion", allowed_congestion(), *flags, "--json", "-")
    if "cannot be emulated here" in done.stderr:
        case.skipTest(done.stderr.strip())
    case.assertEqual(done.returncode, 0, done.stderr)
    return json.loads(done.stdout)


class CompareTest(unittest.TestCase):
    def check_sweep(self, report, peers, cells):
        self.assertEqual(report["command"], "compare")
        self.assertEqual(len(report["cells"]), cells)
        self.assertEqual({cell["peer"] for cell in report["cells"]}, set(peers.split(",")))
        for cell in report["cells"]:
            self.assertEqual(set(cell), CELL)
            self.assertEqual(cell["status"], "measured", cell)
            self.assertIs(cell["results_right"], True)
            self.assertIs(cell["bits_equal"], True)
            self.assertEqual(len(cell["seconds"]), cell["ops"])
            self.assertLessEqual(cell["seconds_p50"], cell["seconds_max"])

    def test_loopback(self):
        report = measure(self, "--tiny", "--loopback", "--loss", "0", "--nodes", "3", "--peers",
                         PEERS)
        self.check_sweep(report, PEERS, 4)
        self.assertEqual(report["parameters"]["links"], "loopback")
        self.assertTrue(all(launch["wire_bytes"] is None for launch in report["launches"]))

    def test_emulated_links(self):
        report = measure(self, "--tiny", "--nodes", "3", "--peers", PEERS)
        self.check_sweep(report, PEERS, 8)
        for launch in report["launches"]:
            # All that was sent, and its headers; less would mean that it went another way.
            self.assertGreater(launch["wire_overhead"], 1.0, launch)
            self.assertEqual(launch["lost"] > 0, launch["loss"] > 0, launch)

    def test_a_size_over_the_limit_is_cut_and_said(self):
        # 1 MiB takes a second at 12.5 MB/s in each of 2(N-1)/N directions.
        report = measure(self, "--tiny", "--nodes", "2", "--peers", "tcp-8", "--limit", "30ms")
        large = [cell for cell in report["cells"] if cell["bytes"] == 1 << 20]
        self.assertEqual({cell["status"] for cell in large}, {"over limit"})
        self.assertEqual({cell["seconds_p50"] for cell in large}, {None})

    def test_a_killed_member(self):
        report = measure(self, "--faults", "--scenes", "kill", "--loopback", "--nodes", "3",
                         "--bytes", "4MiB", "--peers", PEERS)
        outcomes = {}
        for scene in report["scenes"]:
            self.assertIsNone(scene["failure"], scene)
            self.assertEqual(len(scene["survivors"]), 2)
            outcomes[scene["peer"]] = {survivor["outcome"] for survivor in scene["survivors"]}
        self.assertEqual(outcomes, {"perigee": {"goes on"}, "tcp-8": {"error"}})

    def check_interrupted(self, signal_number):
        """Strikes a comparison while it runs; the folder that its temporary files were in."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # Endless, but for the strike.
        comparison = subprocess.Popen(
            [PROGRAM, "compare", "--loopback", "--peers", PEERS, "--iterations", "100000",
             "--congestion", allowed_congestion(), "--budget", "1h", "--bytes", "1MiB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict(os.environ, TMPDIR=folder.name))
        self.addCleanup(comparison.kill)
        wait_until(self, lambda: members_of(folder.name))
        comparison.send_signal(signal_number)
        comparison.wait(timeout=60)
        wait_until(self, lambda: not members_of(folder.name))
        return folder.name

    def test_an_interrupt_leaves_nothing_behind(self):
        self.assertEqual(os.listdir(self.check_interrupted(signal.SIGINT)), [])

    def test_what_a_killed_comparison_left_goes_with_the_next(self):
        folder = self.check_interrupted(signal.SIGKILL)
        self.assertEqual(len(os.listdir(folder)), 1)
        subprocess.run([PROGRAM, "compare", "--tiny", "--loopback", "--peers", "tcp-1",
                        "--congestion", allowed_congestion(), "--loss", "0"], timeout=100,
                       check=True, capture_output=True, env=dict(os.environ, TMPDIR=folder))
        self.assertEqual(os.listdir(folder), [])

    def test_usage_errors_are_one_line_and_exit_2(self):
        for flags in (("--peers", "carrier-pigeon"), ("--loss", "all"), ("--bytes", "2MiB,1MiB"),
                      ("--congestion", "hope"), ("--nodes", "1"), ("--iterations", "0"),
                      ("--loopback", "--faults", "--scenes", "blackhole")):
            done = run(*flags)
            self.assertEqual(done.returncode, 2, flags)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
