#!/usr/bin/env python3
"""Every peer that is installed, over loopback: right results, the same bits, the common lines.

    peers_test.py FOLDER_OF_PROGRAMS
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

PEERS = {
    "perigee": ("bin/peer-perigee",),
    "gloo-ring": ("bin/peer-gloo", "--algorithm", "ring"),
    "gloo-hd": ("bin/peer-gloo", "--algorithm", "halving-doubling"),
    "tcp-1": ("bin/peer-tcp-pool", "--connections", "1"),
    "tcp-5": ("bin/peer-tcp-pool", "--connections", "5"),
    "pccl": ("peers-venv/peer-pccl",),
}
# Another run at the same time takes others.
PORT = 10000 + os.getpid() * 128 % 10000
# Sizes in bytes, so that every parser reads them.
SIZES = (4096, 100004)


def run(name, nodes, port, *flags):
    """All members to their end; (their lines, their exit codes, what they complained of)."""
    program, *own = PEERS[name]
    with tempfile.TemporaryDirectory() as folder:
        members = []
        for rank in range(nodes):
            environment = dict(os.environ, PERIGEE_RANK=str(rank),
                               PERIGEE_ADDRESSES=",".join(["127.0.0.1"] * nodes))
            members.append(subprocess.Popen(
                [os.path.join(BUILD, program), *own, "--rendezvous", folder, "--barrier",
                 "--port", str(port), *flags],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        try:
            done = [member.communicate(timeout=100) for member in members]
        finally:
            for member in members:
                member.kill()
    # PCCL's library has something to say on stdout, too.
    lines = [json.loads(line) for out, _ in done for line in out.splitlines()
             if line.startswith("{")]
    return lines, [member.returncode for member in members], [err for _, err in done]


class PeersTest(unittest.TestCase):
    def check(self, name, nodes, port):
        if not os.access(os.path.join(BUILD, PEERS[name][0]), os.X_OK):
            self.skipTest(f"{PEERS[name][0]} is not there")
        lines, codes, errors = run(name, nodes, port, "--iterations", "2", "--sizes",
                                   ",".join(map(str, SIZES)))
        self.assertEqual(codes, [0] * nodes, errors)
        ops = [line for line in lines if line["event"] == "op"]
        self.assertEqual(len(ops), nodes * len(SIZES) * 3)  # with a warm-up each
        for line in ops:
            self.assertEqual(line["members"], list(range(nodes)), line)
            self.assertGreater(line["seconds"], 0)
        by_op = {(line["op"], line["bytes"]): set() for line in ops}
        for line in ops:
            by_op[line["op"], line["bytes"]].add(line["checksum"])
        self.assertTrue(all(len(sums) == 1 for sums in by_op.values()), by_op)
        self.assertEqual([size for _, size in sorted(by_op)],
                         [size for size in SIZES for _ in range(3)])
        return {place: sums.pop() for place, sums in by_op.items()}

    def test_perigee(self):
        self.check("perigee", 3, PORT + 10)

    def test_gloo_ring(self):
        self.check("gloo-ring", 3, PORT + 20)

    def test_gloo_halving_doubling(self):
        self.check("gloo-hd", 3, PORT + 30)

    def test_tcp_pool(self):
        self.check("tcp-1", 2, PORT + 40)

    def test_all_peers_come_to_the_same_bits(self):
        reference = self.check("tcp-5", 4, PORT + 50)
        for number, name in enumerate(("gloo-ring", "pccl")):
            with self.subTest(name):
                self.assertEqual(self.check(name, 4, PORT + 60 + 10 * number), reference)

    def test_a_size_ends_when_its_budget_is_used_up(self):
        lines, codes, errors = run("tcp-1", 3, PORT + 80, "--iterations", "50", "--budget", "0",
                                   "--sizes", "4096")
        self.assertEqual(codes, [0] * 3, errors)
        self.assertEqual(sum(line["event"] == "op" for line in lines), 3 * 2)

    def test_sizes_that_would_take_too_long_are_left_out_by_all(self):
        lines, codes, errors = run("tcp-1", 3, PORT + 90, "--iterations", "2", "--op-limit", "1us",
                                   "--sizes", "4096,8192,16384")
        self.assertEqual(codes, [0] * 3, errors)
        self.assertEqual({line["bytes"] for line in lines if line["event"] == "op"}, {4096})
        cut = sorted((line["rank"], line["bytes"]) for line in lines if line["event"] == "cut")
        self.assertEqual(cut, [(rank, size) for rank in range(3) for size in (8192, 16384)])

    def test_usage_errors_are_one_line_and_exit_2(self):
        for flags in (("--sizes", "5"), ("--iterations", "none"), ("--rank", "9")):
            lines, codes, errors = run("tcp-1", 2, PORT + 100, *flags)
            self.assertEqual((lines, codes), ([], [2, 2]), flags)
            self.assertEqual(errors[0].count("\n"), 1, errors[0])


if __name__ == "__main__":
    BUILD = sys.argv.pop(1)
    unittest.main()
