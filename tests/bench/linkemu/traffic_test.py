#!/usr/bin/env python3
"""Real TCP and UDP over perigee-linkemu: what arrives is what was sent, whatever the links do.

    traffic_test.py PATH_OF_PERIGEE_LINKEMU
"""

import json
import unittest

from linkemu_case import LinkemuCase

# Rank 0 sends 1 MiB of seeded bytes to rank 1, which prints whether they are the same.
TCP = """
import random, socket
rank = int(os.environ["PERIGEE_RANK"])
data = random.Random(5).randbytes(1 << 20)
family, address = FAMILY
if rank == 1:
    server = socket.create_server((address, 7000), family=family)
    meet("bound")
    peer, _ = server.accept()
    got = b""
    while len(got) < len(data):
        part = peer.recv(1 << 20)
        if not part: break
        got += part
    print("same" if got == data else "DIFFERENT")
    peer.sendall(b"k")
elif rank > 1:
    meet("bound")
else:
    meet("bound")
    peer = socket.create_connection((address, 7000), timeout=60)
    peer.sendall(data)
    assert peer.recv(1) == b"k"
"""
IP4 = TCP.replace("FAMILY", '(socket.AF_INET, "10.77.0.2")')
IP6 = TCP.replace("FAMILY", '(socket.AF_INET6, "fd77::2")')

# Rank 0 sends 3000 numbered datagrams in super-packets (UDP_SEGMENT) or one by one; rank 1 prints
# how many arrived whole, how many with wrong bytes, how many twice.
UDP = """
import socket, struct
rank = int(os.environ["PERIGEE_RANK"])
def body(number): return struct.pack("!I", number) * 250
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if rank == 1:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    s.bind(("", 7000)); s.settimeout(1)
    meet("bound")
    whole, wrong = [], 0
    try:
        while True:
            data = s.recv(2000)
            number = struct.unpack("!I", data[500:504])[0]
            if number < 3000 and data == body(number): whole.append(number)
            else: wrong += 1
    except socket.timeout: pass
    print(len(set(whole)), wrong, len(whole) - len(set(whole)))
else:
    meet("bound")
    s.connect(("10.77.0.2", 7000))
    burst = BURST
    if burst > 1: s.setsockopt(socket.IPPROTO_UDP, 103, 1000)
    for first in range(0, 3000, burst):
        s.send(b"".join(body(n) for n in range(first, first + burst)))
        if first % 30 == 0: time.sleep(0.002)
"""
BURSTS = UDP.replace("BURST", "30")
SINGLES = UDP.replace("BURST", "1")


class TcpTest(LinkemuCase):
    def test_bytes_arrive_over_every_kind_of_harm(self):
        for source in (IP4, IP6):
            report, lines = self.run_python(
                source, "--rate", "200Mbit", "--delay", "2ms", "--loss", "1%", "--reorder", "1%",
                "--duplicate", "1%", "--bit-flip", "0.5%")
            self.assertEqual(lines, ["[1] same"])
            link = self.link(report, 0, 1)
            self.assertGreater(link["bytes"], 1 << 20)
            for harm in ("lost", "duplicated", "flipped"):
                self.assertGreater(link[harm], 0, harm)
            self.assertEqual(report["write_errors"] + report["malformed"], 0)

    def test_bytes_arrive_over_relays_and_slow_links(self):
        report, lines = self.run_python(IP4, "--topology", "star", "--rate", "100Mbit", "--delay",
                                        "1ms", "--loss", "0.5%", nodes=3)
        self.assertEqual(lines, ["[1] same"])
        self.assertEqual(len(report["links"]), 4)

    def test_bursts_are_survived(self):
        _, lines = self.run_python(IP4, "--rate", "1Gbit", "--delay", "1ms", "--loss", "2%",
                                   "--burst-ms", "2")
        self.assertEqual(lines, ["[1] same"])


class UdpTest(LinkemuCase):
    def counts(self, source, *flags):
        report, lines = self.run_python(source, "--rate", "1Gbit", "--delay", "1ms", *flags)
        whole, wrong, twice = map(int, lines[0].split()[1:])
        return self.link(report, 0, 1), whole, wrong, twice

    def test_losses_are_drawn_by_number_whoever_joins_the_packets(self):
        flags = ("--loss", "5%", "--seed", "3")
        joined, whole, wrong, _ = self.counts(BURSTS, *flags)
        single, whole_single, _, _ = self.counts(SINGLES, *flags)
        self.assertEqual(joined["packets"], 3000)
        self.assertEqual(joined["lost"], single["lost"])
        self.assertEqual((whole, wrong), (3000 - joined["lost"], 0))
        self.assertEqual(whole_single, whole)
        self.assertGreater(joined["lost"], 50)

    def test_duplicates_and_reordering(self):
        link, whole, wrong, twice = self.counts(BURSTS, "--duplicate", "3%", "--reorder", "10%")
        self.assertEqual((whole, wrong, twice), (3000, 0, link["duplicated"]))
        self.assertGreater(twice, 0)

    def test_a_detected_flip_is_a_loss(self):
        for source in (BURSTS, SINGLES):
            link, whole, wrong, _ = self.counts(source, "--bit-flip", "3%")
            self.assertGreater(link["flipped"], 0)
            self.assertEqual((whole, wrong), (3000 - link["flipped"], 0))

    def test_a_silent_flip_reaches_the_program(self):
        for source in (BURSTS, SINGLES):
            link, whole, wrong, _ = self.counts(source, "--bit-flip", "3%", "--flip-mode", "silent")
            self.assertEqual((whole, wrong), (3000 - link["flipped"], link["flipped"]))


class SelftestTest(LinkemuCase):
    def test_tiny(self):
        done = self.run_program("selftest", "--tiny", "--json", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        for field in ("command", "version", "seed", "parameters", "machine", "ceiling_bps_per_link",
                      "jitter_us_p50", "jitter_us_p99", "loss_error_relative", "burst_ms_measured",
                      "outage_ok", "delay_error_us"):
            self.assertIn(field, report)
        self.assertIs(report["outage_ok"], True)
        self.assertEqual(report["missed"], [])
        for loss in report["losses"]:  # drawn by number: the same on every machine
            self.assertAlmostEqual(loss["measured"], loss["loss"], delta=0.3 * loss["loss"])


if __name__ == "__main__":
    unittest.main()
