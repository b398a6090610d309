#!/usr/bin/env python3
"""Really runs `perigee-linkemu run`: what nodes see, how a run ends, what `set` does.

    run_test.py PATH_OF_PERIGEE_LINKEMU
"""

import os
import unittest

from linkemu_case import PROGRAM, LinkemuCase

# In a node: a socket, and what to do with it once all nodes have theirs.
SOCKET = """
import socket
rank = int(os.environ["PERIGEE_RANK"])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7000)); s.settimeout(30)
def send(text, to): s.sendto(text.encode(), (f"10.77.0.{to + 1}", 7000))
def take(): return s.recvfrom(2000)[0].decode()
def take_all():  # until nothing came for a while
    s.settimeout(0.5)
    try:
        while True: print(take(), flush=True)
    except socket.timeout: pass
meet("bound")
"""
TELL = """
import subprocess
def tell(*words):
    return subprocess.run(["PROGRAM", "set", *words], capture_output=True, text=True)
""".replace("PROGRAM", os.path.abspath(PROGRAM))


class RunTest(LinkemuCase):
    def test_a_node_knows_who_it_is(self):
        command = ["sh", "-c", "echo {rank} {nodes} {address} {addresses} {coordinator} "
                   "$PERIGEE_RANK $PERIGEE_NODES $PERIGEE_ADDRESS $PERIGEE_ADDRESSES"]
        _, lines = self.run_nodes(command=command, nodes=3)
        addresses = "10.77.0.1,10.77.0.2,10.77.0.3"
        expected = [f"[{i}] {i} 3 10.77.0.{i + 1} {addresses} {i} 3 10.77.0.{i + 1} {addresses}"
                    for i in range(3)]
        self.assertEqual(sorted(lines), expected)

    def test_the_report_has_every_field(self):
        report, _ = self.run_nodes("--seed", "9", command=["true"])
        for field in ("command", "version", "seed", "parameters", "machine", "wall_seconds",
                      "emulator_cpu_seconds", "lateness_us_p50", "lateness_us_p99", "arrivals",
                      "unroutable", "nodes", "links"):
            self.assertIn(field, report)
        self.assertEqual((report["command"], report["seed"]), ("linkemu run", 9))
        self.assertEqual([node["exit_code"] for node in report["nodes"]], [0, 0])
        self.assertEqual(len(report["links"]), 2)

    def test_output_goes_where_it_belongs(self):
        done = self.run_program("run", "--above-ceiling", "--nodes", "2", "--no-prefix", "--", "sh",
                                "-c", "printf 'out\\nlast'; echo err >&2")
        self.assertEqual(sorted(done.stdout.splitlines()), ["last", "last", "out", "out"])
        self.assertEqual(done.stderr, "err\nerr\n")

    def test_a_link_has_its_delay(self):
        source = SOCKET + """
if rank == 0:
    began = time.time(); send("ping", 1); take()
    print("took", time.time() - began)
else:
    take(); send("pong", 0)
"""
        _, lines = self.run_python(source, "--delay", "40ms")
        took = float(lines[0].split()[-1])
        self.assertGreaterEqual(took, 0.08)  # how much more depends on the machine

    def test_one_way_down_then_up(self):
        source = SOCKET + TELL + """
if rank == 0:
    send("lost", 1)
    print(take())
    tell("link", "*", "*", "up")
    send("passes", 1)
else:
    send("the other way", 0)
    print(take())
"""
        report, lines = self.run_python(source, "--at", "0s link 0 1 down")
        self.assertEqual(sorted(lines), ["[0] the other way", "[1] passes"])
        self.assertEqual(self.link(report, 0, 1)["down_dropped"], 1)

    def test_a_blackholed_node_is_alone(self):
        source = SOCKET + """
for to in range(3):
    if to != rank: send(f"from {rank}", to)
take_all()
"""
        _, lines = self.run_python(source, "--at", "0s node 2 down", nodes=3)
        self.assertEqual(sorted(lines), ["[0] from 1", "[1] from 0"])

    def test_set_reaches_the_run_from_a_node(self):
        source = SOCKET + TELL + """
if rank == 0:
    print(tell("link", "0", "7", "down").stderr.strip())
    print(tell("link", "0", "1", "loss", "100%").returncode)
    send("lost", 1)
    print('"links"' in tell("status").stdout)
    tell("node", "1", "signal", "USR1")
else:
    time.sleep(60)
"""
        report, lines = self.run_python(source)
        self.assertEqual(lines[1:], ["[0] 0", "[0] True"])
        self.assertIn("nodes are 0 to 1", lines[0])
        self.assertEqual(self.link(report, 0, 1)["lost"], 1)
        self.assertEqual(report["nodes"][1]["exit_code"], 128 + 10)  # SIGUSR1, no failure

    def test_packets_find_their_way_around_a_ring(self):
        source = SOCKET + """
if rank == 0: send("hello", 2)
if rank == 2: print(take())
"""
        report, lines = self.run_python(source, "--topology", "ring", nodes=4)
        self.assertEqual(lines, ["[2] hello"])
        self.assertEqual(sum(link["packets"] for link in report["links"]), 2)

    def test_the_coordinator_is_a_node_beside_the_ranks(self):
        source = SOCKET + """
s.settimeout(0.2)
for _ in range(100):  # until the coordinator is up
    s.sendto(f"from {rank}".encode(), (os.environ["PERIGEE_COORDINATOR"], 7000))
    try: print(take()); break
    except socket.timeout: pass
"""
        answer = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 7000))
while True:
    text, peer = s.recvfrom(100); s.sendto(b"answer " + text, peer)
"""
        _, lines = self.run_python(source, "--topology", "star", "--coordinator",
                                   f"exec python3 -c '{answer}'", nodes=3)
        self.assertEqual(sorted(lines), [f"[{i}] answer from {i}" for i in range(3)])

    def test_contacts_open_and_close(self):
        plan = os.path.join(self.cache.name, "plan.textproto")
        with open(plan, "w", encoding="utf-8") as file:
            file.write("links { from: 3 to: 8 bits_per_second: 8e6 delay_ms: 1 }\n"
                       "links { from: 8 to: 3 bits_per_second: 8e6 delay_ms: 1 }\n"
                       "contacts { from: 3 to: 8 opens_ms: 100000 closes_ms: 900000 }\n"
                       "contacts { from: 8 to: 3 opens_ms: 0 closes_ms: 1 }\n")
        # Rank 0 sends until one of its packets has passed: a second after the start. Rank 1 tells
        # it through a file: its own link closed at once.
        source = SOCKET + """
done = os.environ["TEST_FOLDER"] + "/done"
if rank == 0:
    while not os.path.exists(done): send("open", 1); time.sleep(0.02)
else:
    print(take())
    send("closed", 0)
    open(done, "w").close()
"""
        report, lines = self.run_python(source, "--contacts", plan, "--time-scale", "100",
                                        nodes=2)
        self.assertEqual(lines, ["[1] open"])
        self.assertEqual(self.link(report, 1, 0)["down_dropped"], 1)
        self.assertGreater(report["wall_seconds"], 1)

class EndTest(LinkemuCase):
    def test_the_first_failure_ends_all(self):
        done = self.run_program("run", "--above-ceiling", "--nodes", "3", "--", "sh", "-c",
                                "[ {rank} = 1 ] && exit 3; sleep 100")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "perigee-linkemu: node 1 ended with exit code 3\n")

    def test_keep_going_lets_the_others_finish(self):
        done = self.run_program("run", "--above-ceiling", "--nodes", "2", "--keep-going", "--",
                                "sh", "-c", "[ {rank} = 1 ] && exit 3; sleep 0.5; echo done")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "[0] done\n")

    def test_until_ends_the_servers(self):
        report, _ = self.run_nodes("--until", "1", command=["sh", "-c",
                                                            "[ {rank} = 1 ] || sleep 100"])
        self.assertEqual(report["nodes"][1]["exit_code"], 0)
        self.assertEqual(report["nodes"][0]["exit_code"], 128 + 15)

    def test_a_timeout_is_a_failure(self):
        done = self.run_program("run", "--above-ceiling", "--nodes", "2", "--timeout", "200ms",
                                "--", "sleep", "100")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--timeout", done.stderr)

    def test_a_command_that_is_not_there(self):
        done = self.run_program("run", "--above-ceiling", "--nodes", "2", "--", "no-such-command")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot run no-such-command", done.stderr)

    def test_usage_errors_are_one_line_and_exit_2(self):
        for flags in (["--nodes", "2"], ["--nodes", "1", "--", "true"],
                      ["--nodes", "2", "--loss", "2", "--", "true"],
                      ["--nodes", "2", "--topology", "knot", "--", "true"],
                      ["--nodes", "2", "--congestion", "no-such", "--", "true"],
                      ["--nodes", "2", "--at", "soon node 1 down", "--", "true"],
                      ["--nodes", "2", "--at", "1s node 5 down", "--", "true"],
                      ["--nodes", "2", "--until", "2", "--", "true"],
                      ["--nodes", "3", "--topology", "torus2x2", "--", "true"],
                      ["--nodes", "2", "--burst-ms", "-1", "--", "true"],
                      ["--contacts", "nowhere", "--", "true"]):
            done = self.run_program("run", "--above-ceiling", *flags)
            self.assertEqual(done.returncode, 2, (flags, done.stderr))
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_refuses_what_no_machine_carries(self):
        done = self.run_program("run", "--nodes", "100", "--rate", "10Gbit", "--", "true")
        self.assertEqual(done.returncode, 1)
        self.assertIn("9900 links that together ask for", done.stderr)


if __name__ == "__main__":
    unittest.main()
