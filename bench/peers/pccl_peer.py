#!/usr/bin/env python3
"""PCCL as a peer of `perigee-bench compare`: the command line and the lines of peer.h, in Python.

install.sh makes build/peers-venv/peer-pccl, which starts this file with what it needs.
"""

import argparse
import importlib.metadata
import json
import mmap
import os
import struct
import time

import numpy
import pccl

STOP, NEXT_IS_TOO_LONG, NEXT_IS_SLOW = 1, 2, 4  # peer_loop.h
PROBE = 256
BLOCK = 1 << 20  # elements: what numpy works on at once stays in the cache
JOIN_SECONDS = 60
LINGER_SECONDS = 0.2  # of the master, for members that are about to end
VERSION = "pypccl " + importlib.metadata.version("pypccl")


def seconds_of(text):
    for suffix, factor in (("ms", 1e-3), ("us", 1e-6), ("s", 1.0)):
        if text.endswith(suffix):
            return float(text[:-len(suffix)]) * factor
    return float(text)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--rank", type=int, default=int(os.environ.get("PERIGEE_RANK", 0)))
    parser.add_argument("--addresses", default=os.environ.get("PERIGEE_ADDRESSES", ""))
    parser.add_argument("--port", type=int, default=29500)
    parser.add_argument("--sizes", default="1048576", help="bytes, ascending")
    parser.add_argument("--iterations", default="10")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--budget", type=seconds_of, default=6.0)
    parser.add_argument("--op-limit", type=seconds_of, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=0, help="0: PCCL's default")
    parser.add_argument("--rendezvous", default="")
    parser.add_argument("--barrier", action="store_true")
    for unused in ("--algorithm", "--congestion", "--rate", "--delay"):
        parser.add_argument(unused)
    options = parser.parse_args()
    options.addresses = options.addresses.split(",")
    options.sizes = [int(size) for size in options.sizes.split(",")]
    options.iterations = [int(count) for count in options.iterations.split(",")]
    return options


class Content:
    """What is summed: the formulas of peer_vector.cc."""

    def __init__(self, seed, nodes):
        self.seed, self.nodes = seed, nodes
        self.places = numpy.arange(1, BLOCK + 1, dtype=numpy.uint32) * numpy.uint32(0x9e3779b1)

    def block(self, rank, op, begin, count):
        salt = (rank + self.seed) * 0x9e3779b9 + op * 0x85ebca6b + begin * 0x9e3779b1
        mixed = self.places[:count] + numpy.uint32(salt & 0xffffffff)
        return (mixed >> numpy.uint32(27)).astype(numpy.float32) - numpy.float32(16)

    def fill(self, rank, op, values):
        for begin in range(0, values.size, BLOCK):
            part = values[begin:begin + BLOCK]
            part[:] = self.block(rank, op, begin, part.size)

    def is_sum_of(self, ranks, op, values):
        for begin in range(0, values.size, BLOCK):
            part = values[begin:begin + BLOCK]
            expected = sum(self.block(rank, op, begin, part.size) for rank in ranks)
            if not numpy.array_equal(expected, part):
                return False
        return True

    def members(self, op, values):
        for chosen in range((1 << self.nodes) - 1, 0, -1):
            ranks = [rank for rank in range(self.nodes) if chosen >> rank & 1]
            if self.is_sum_of(ranks, op, values[:PROBE]):
                return ranks if self.is_sum_of(ranks, op, values) else []
        return []

    @staticmethod
    def checksum(values):
        total = 0
        for begin in range(0, values.size, BLOCK):
            bits = values[begin:begin + BLOCK].view(numpy.uint32).astype(numpy.uint64)
            weights = numpy.arange(2 * begin + 1, 2 * (begin + bits.size) + 1, 2,
                                   dtype=numpy.uint64)
            total += int((bits * weights).sum(dtype=numpy.uint64))
        return f"{total % (1 << 64):016x}"


class Barrier:
    """The file of peer_barrier.h."""

    def __init__(self, path, rank, nodes):
        self.rank, self.nodes, self.times = rank, nodes, 0
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, 24 * nodes)
        self.memory = mmap.mmap(fd, 24 * nodes)
        os.close(fd)

    def row(self, number):
        return struct.unpack_from(f"={self.nodes}Q", self.memory, 8 * self.nodes * number)

    def agree(self, votes=0):
        self.times += 1
        votes_row = 1 + self.times % 2
        struct.pack_into("=Q", self.memory, 8 * (self.nodes * votes_row + self.rank), votes)
        struct.pack_into("=Q", self.memory, 8 * self.rank, self.times)
        while min(self.row(0)) < self.times:
            time.sleep(1e-4)
        wanted = 0
        for vote in self.row(votes_row):
            wanted |= vote
        return wanted


class Peer:
    def __init__(self, options):
        self.options = options
        self.nodes = len(options.addresses)
        self.content = Content(options.seed, self.nodes)
        self.barrier = None
        if options.barrier:
            self.barrier = Barrier(options.rendezvous + "/barrier", options.rank, self.nodes)
        self.op = 0
        self.fastest = 0.0
        self.next_is_slow = 0
        self.next_is_too_long = False
        self.join()

    def join(self):
        master = f"{self.options.addresses[0]}:{self.options.port}"
        if self.options.rank == 0:
            self.master = pccl.MasterNode(master)
            self.master.run()
        self.comm = pccl.Communicator(master, 0, self.options.connections)
        self.comm.connect(20)
        deadline = time.time() + JOIN_SECONDS
        while self.world() < self.nodes:
            if time.time() > deadline:
                raise TimeoutError(f"{self.world()} of {self.nodes} members after 60 s")
            if self.comm.are_peers_pending():
                self.comm.update_topology()
            time.sleep(0.02)

    def world(self):
        return self.comm.get_attribute(pccl.Attribute.GLOBAL_WORLD_SIZE)

    def say(self, event, **fields):
        line = {"event": event, "rank": self.options.rank, "time": time.time(), **fields}
        os.write(1, (json.dumps(line) + "\n").encode())

    def all_reduce(self, values, result):
        """As its documentation says: on an error bring the topology up to date and do it again."""
        while True:
            try:
                self.comm.all_reduce(values, result, op=pccl.ReduceOp.SUM)
                return
            except pccl.PCCLError as error:
                self.say("notice", message=str(error))
                if self.world() < 2:
                    raise
            try:
                self.comm.update_topology()
            except pccl.PCCLError as error:
                self.say("notice", message=str(error))
                time.sleep(0.05)

    def run_op(self, timed, values, result):
        fields = {"op": self.op, "bytes": values.nbytes}
        if self.barrier:
            self.barrier.agree()
        self.say("start", **fields)
        cpu, begin = time.process_time(), time.time()
        try:
            self.all_reduce(values, result)
        except pccl.PCCLError as error:
            self.say("error", seconds=time.time() - begin, message=str(error), **fields)
            return False
        ended = time.time()
        took = ended - begin
        cpu = time.process_time() - cpu
        self.fastest = min(self.fastest, took)
        self.say("op", seconds=took, cpu_seconds=cpu, ended=ended, timed=timed,
                 members=self.content.members(self.op, result),
                 checksum=self.content.checksum(result), **fields)
        self.op += 1
        return True

    def votes(self, index, begin):
        options = self.options
        votes = STOP if time.time() - begin >= options.budget else 0
        if index + 1 < len(options.sizes):
            size = options.sizes[index]
            growth = options.sizes[index + 1] / size * (0.85 if size >= 16 << 20 else 0.5)
            if self.fastest * growth > options.budget:
                votes |= NEXT_IS_SLOW
            if self.fastest * growth > options.op_limit:
                votes |= NEXT_IS_TOO_LONG
        return votes

    def run_size(self, index):
        options = self.options
        values = numpy.zeros(options.sizes[index] // 4, dtype=numpy.float32)
        result = numpy.zeros_like(values)
        timed = options.iterations[min(index, len(options.iterations) - 1)]
        warmup = 0 if self.next_is_slow else options.warmup
        begin, self.fastest = time.time(), float("inf")
        for i in range(warmup + timed):
            self.content.fill(options.rank, self.op, values)
            if not self.run_op(i >= warmup, values, result):
                return False
            if self.barrier is None:
                continue
            votes = self.barrier.agree(self.votes(index, begin) if i >= warmup else 0)
            self.next_is_too_long = votes & NEXT_IS_TOO_LONG
            self.next_is_slow = votes & NEXT_IS_SLOW
            if votes & STOP:
                break
        return True

    def run(self):
        self.say("ready", pid=os.getpid(), version=VERSION,
                 control=os.environ.get("PERIGEE_LINKEMU", ""))
        for index, size in enumerate(self.options.sizes):
            if self.next_is_too_long:
                self.say("cut", bytes=size)
            elif not self.run_size(index):
                return 1
        if self.barrier:
            self.barrier.agree()
        self.say("end", cpu_seconds=time.process_time())
        return 0


if __name__ == "__main__":
    # Ends without destructors: the master's waits for an end that nobody asks for.
    PEER = Peer(parse())
    CODE = PEER.run()
    time.sleep(LINGER_SECONDS if PEER.options.rank == 0 else 0)
    os._exit(CODE)
