#!/usr/bin/env python3
"""However a run of perigee-linkemu ends, it leaves no process, namespace, device or socket behind.

    cleanup_test.py PATH_OF_PERIGEE_LINKEMU [ROUNDS]
"""

import os
import random
import signal
import sys
import time
import unittest

from linkemu_case import LinkemuCase, marker, processes_with

ROUNDS = int(sys.argv.pop(1)) if len(sys.argv) > 1 else 20
PATIENCE = 30  # seconds until what is asked for must have happened; it takes far less


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def sockets():
    try:
        return set(os.listdir(f"/tmp/perigee-linkemu-{os.getuid()}"))
    except FileNotFoundError:
        return set()


class CleanupTest(LinkemuCase):
    def assert_nothing_left(self, word, pid):
        # A namespace without a name lives in processes and their descriptors only.
        self.assertTrue(wait_for(lambda: not processes_with(word)), processes_with(word))
        self.assertNotIn(f"{pid}.sock", sockets())

    def test_interrupted_at_random(self):
        seed = random.randrange(1 << 30)
        print(f"seed {seed}")
        rng = random.Random(seed)
        for _ in range(ROUNDS):
            word = marker()
            how = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP))
            # A daemon that leaves its session, and often a program that takes no SIGTERM.
            trap = rng.choice(("trap '' TERM; ", "", ""))
            run = self.start("--nodes", str(rng.randint(2, 5)), "--", "sh", "-c",
                             trap + "setsid sleep 1000 & sleep 1001; sleep 1", word)
            time.sleep(rng.random() * 0.4)
            run.send_signal(how)
            run.communicate(timeout=PATIENCE)
            self.assertIn(run.returncode, (1, -how), how)
            if how == signal.SIGKILL:  # the next start cleans up
                self.assertTrue(wait_for(lambda w=word: not processes_with(w)))
                self.assertEqual(self.run_program("run", "--above-ceiling", "--nodes", "2", "--",
                                                  "true").returncode, 0)
            self.assert_nothing_left(word, run.pid)

    def test_a_second_interrupt_ends_at_once_what_ignores_the_first(self):
        word = marker()
        run = self.start("--nodes", "2", "--", "sh", "-c",
                         "trap '' TERM; echo up; sleep 1000; sleep 1000", word)
        self.assertTrue(run.stdout.readline())
        run.send_signal(signal.SIGINT)
        time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=PATIENCE)
        self.assertEqual(run.returncode, 1)
        self.assert_nothing_left(word, run.pid)

    def test_a_stopped_node_ends_too(self):
        run = self.start("--nodes", "2", "--at", "0s node 1 signal STOP", "--timeout", "500ms",
                         "--", "sleep", "1000")
        run.communicate(timeout=PATIENCE)
        self.assertEqual(run.returncode, 1)

    def test_what_a_command_leaves_running_ends_with_it(self):
        word = marker()
        done = self.run_program("run", "--above-ceiling", "--nodes", "2", "--", "sh", "-c",
                                "setsid sh -c 'sleep 1000; sleep 1000' " + word + " & exit 0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(wait_for(lambda: not processes_with(word)))


if __name__ == "__main__":
    unittest.main()
