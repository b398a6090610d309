#!/usr/bin/env python3
"""Tiny runs of `perigee-bench reduce`: every kernel computes what it should.

    reduce_test.py PATH_OF_PERIGEE_BENCH
"""

import json
import subprocess
import sys
import unittest


def run(*flags):
    return subprocess.run([PROGRAM, "reduce", *flags], capture_output=True, text=True, timeout=120,
                          check=False)


class ReduceTest(unittest.TestCase):
    def test_every_kernel_is_right_and_stands_beside_the_copy(self):
        done = run("--bytes", "64KiB", "--iterations", "2", "--json", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        kernels = json.loads(done.stdout)["kernels"]
        self.assertEqual(kernels[0]["kernel"], "copy")
        self.assertEqual(kernels[0]["of_copy"], 1)
        self.assertIn("fixed point add", [kernel["kernel"] for kernel in kernels])
        for kernel in kernels:
            self.assertIs(kernel["right"], True, kernel)
            self.assertGreater(kernel["bytes_per_second"], 0)

    def test_a_size_that_does_not_fit_the_types_is_refused(self):
        done = run("--bytes", "12")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
