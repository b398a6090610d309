"""What the tests that really run perigee-linkemu share. They are skipped, with the emulator's own
words, where it may not create namespaces or devices."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import uuid

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else "build/bin/perigee-linkemu"
NOT_ALLOWED = ("not permitted", "Permission denied", "/dev/net/tun")

# For programs of nodes: returns when all ranks have called it with the same word. The nodes share
# the files of the machine.
MEET = """
import os, time
def meet(word):
    folder = os.environ["TEST_FOLDER"]
    open(f"{folder}/{word}.{os.environ['PERIGEE_RANK']}", "w").close()
    while any(not os.path.exists(f"{folder}/{word}.{i}")
              for i in range(int(os.environ["PERIGEE_NODES"]))):
        time.sleep(0.01)
"""


class LinkemuCase(unittest.TestCase):
    folder = None  # of one run of programs

    @classmethod
    def setUpClass(cls):
        cls.cache = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.cache.cleanup)
        probe = cls.run_program("run", "--nodes", "2", "--above-ceiling", "--", "true")
        if probe.returncode == 1 and any(word in probe.stderr for word in NOT_ALLOWED):
            raise unittest.SkipTest(probe.stderr.strip())

    @classmethod
    def environment(cls):
        return dict(os.environ, XDG_CACHE_HOME=cls.cache.name, TEST_FOLDER=cls.folder or "")

    @classmethod
    def run_program(cls, *arguments, timeout=120):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True,
                              timeout=timeout, env=cls.environment(), check=False)

    @classmethod
    def start(cls, *arguments):
        """A run that goes on; the caller ends it."""
        return subprocess.Popen([PROGRAM, "run", "--above-ceiling", *arguments],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=cls.environment())

    def run_nodes(self, *flags, command, nodes=2):
        """The run's (report, lines that the nodes printed); fails where the run does."""
        done = self.run_program("run", "--above-ceiling", "--nodes", str(nodes), "--json", "-",
                                *flags, "--", *command)
        self.assertEqual(done.returncode, 0, done.stderr)
        # On a busy machine the emulator may say that it was late: not what is tested here.
        lines = [line for line in done.stderr.splitlines() if ": warning: " not in line]
        return json.loads(done.stdout), lines

    def run_python(self, source, *flags, nodes=2):
        with tempfile.TemporaryDirectory() as folder:
            type(self).folder = folder
            return self.run_nodes(*flags, command=[sys.executable, "-c", MEET + source],
                                  nodes=nodes)

    @staticmethod
    def link(report, a, b):
        return next(link for link in report["links"] if (link["from"], link["to"]) == (a, b))


def marker():
    """A word for a command line by which processes can be found."""
    return f"linkemu-test-{uuid.uuid4()}"


def processes_with(word):
    """Process ids whose command line has the word."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if entry.isdigit() and word.encode() in file.read():
                    found.append(int(entry))
        except OSError:
            continue
    return found
