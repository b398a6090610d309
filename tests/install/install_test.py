#!/usr/bin/env python3
"""Installs a build into a temporary place, builds examples/consumer against it, runs two members.

    install_test.py --build build [--cmake cmake] [--compiler c++]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
CONSUMER = os.path.join(ROOT, "examples/consumer")
READY_SECONDS_MAX = 120


def call(*command):
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def without_indent(text):
    return [line.strip() for line in text.strip().splitlines()]


def check_readme():
    """The README's C++ example is a part of the program that is built here."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as stream:
        example = re.search(r"```cpp\n(.*?)```", stream.read(), re.DOTALL)
    with open(os.path.join(CONSUMER, "main.cc"), encoding="utf-8") as stream:
        program = "\n".join(without_indent(stream.read()))
    assert example, "README.md has no ```cpp block"
    shown = "\n".join(without_indent(example.group(1)))
    assert shown in program, "README.md's example is not in examples/consumer/main.cc"


def build(arguments, prefix, folder):
    call(arguments.cmake, "--install", arguments.build, "--prefix", prefix)
    call(arguments.cmake, "-S", CONSUMER, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}",
         f"-DCMAKE_CXX_COMPILER={arguments.compiler}")
    call(arguments.cmake, "--build", folder)
    return os.path.join(folder, "consumer")


def run_members(programs, consumer, certs):
    call(os.path.join(programs, "perigeectl"), "cert", "init", "--out", certs)
    perigeed = os.path.join(programs, "perigeed")
    coordinator = subprocess.Popen([perigeed, "--listen", "127.0.0.1:0", "--certs", certs],
                                   stdout=subprocess.PIPE, text=True)
    try:
        ready = coordinator.stdout.readline()
        address = re.search(r"\d+\.\d+\.\d+\.\d+:\d+", ready)
        assert address, f"perigeed is not ready: {ready!r}"
        members = [subprocess.Popen([consumer, str(node), address.group(0), certs],
                                    stdout=subprocess.PIPE, text=True) for node in (0, 1)]
        for node, member in enumerate(members):
            output, _ = member.communicate(timeout=READY_SECONDS_MAX)
            print(output, end="")
            assert member.returncode == 0, f"member {node} ended with {member.returncode}"
            assert output == f"node {node}: the sum is 3.0\n", output
    finally:
        coordinator.terminate()
        coordinator.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--compiler", default="c++")
    arguments = parser.parse_args()
    check_readme()
    with tempfile.TemporaryDirectory() as place:
        prefix = os.path.join(place, "prefix")
        try:
            consumer = build(arguments, prefix, os.path.join(place, "build"))
        except subprocess.CalledProcessError as error:
            print(error.output)
            return 1
        run_members(os.path.join(prefix, "bin"), consumer, os.path.join(place, "certs"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
