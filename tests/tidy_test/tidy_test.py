#!/usr/bin/env python3
"""Enforces the project's own rules on the source tree: layering, deterministic cores, sizes.

    tests/tidy_test/tidy_test.py              checks the tree that holds this file
    tests/tidy_test/tidy_test.py --self-test  plants violations in a copy and wants each one found

One line per finding: file:line: rule: what to do. Exit 0 when there is none, 1 otherwise.
"""

import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import core_bans  # noqa: E402
import layers  # noqa: E402
import self_test  # noqa: E402
import sizes  # noqa: E402
from exceptions import EXCEPTIONS  # noqa: E402
from source import Finding, Tree  # noqa: E402


def findings_of(root, exceptions):
    tree = Tree(root)
    checks = (layers.check_includes, layers.check_cmake, core_bans.check, sizes.check)
    found = [finding for check in checks for finding in check(tree)]
    used = {(finding.path, finding.rule) for finding in found}
    kept = [finding for finding in found if (finding.path, finding.rule) not in exceptions]
    kept += [Finding(path, 1, "exception", f"nothing breaks {rule} here: remove the exception")
             for path, rule in exceptions if (path, rule) not in used]
    return sorted(set(kept), key=lambda finding: (finding.path, finding.line, finding.rule))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--root", default=os.path.join(here, "../.."))
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test.run(findings_of)
    findings = findings_of(os.path.abspath(arguments.root), EXCEPTIONS)
    for finding in findings:
        print(finding)
    print(f"tidy_test: {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
