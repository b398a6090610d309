#!/bin/bash
# What every change must pass, from nothing, on Debian 12 or Ubuntu 24.04:
#
#   tests/run.sh             under 30 minutes on 2 cores with an empty compiler cache
#   PERIGEE_FUZZ_SECONDS=5 tests/run.sh
#
# 1. the release build and all tests; 2. the cores under AddressSanitizer and
# UndefinedBehaviorSanitizer; 3. each fuzz target for a minute; 4. the demo in its short form.
# tests/full.sh does more and takes hours.
set -euo pipefail
if [ $# -gt 0 ]; then  # there are no flags: --help and mistakes get the same answer
  sed -n '2,9s/^# \{0,1\}//p' "$0"
  [ "$1" = --help ] || exit 2
  exit 0
fi
cd "$(dirname "$0")/.."
. tests/steps.sh

# set -e does not reach into functions that a step calls with `||`: they chain their commands.
release_build() {
  cmake --preset release && cmake --build build -j "$perigee_jobs"
}

# Sanitizers make the exhaustive tests several times slower.
asan_build() {
  cmake --preset asan -DPERIGEE_CORES_ONLY=ON -DPERIGEE_TEST_TIMEOUT=1200 &&
    cmake --build build-asan -j "$perigee_jobs"
}

# Fewer seeds than the 500 of the release tests, and not the largest exploration: ten minutes for
# the same code with other numbers.
asan_tests() {
  PERIGEE_SEEDS=${PERIGEE_SEEDS:-200} GTEST_FILTER=-*TwoProposersWithAnOp \
    tests_in build-asan -L core
}

step "packages" tests/install_packages.sh build bench
step "release build" release_build
step "release tests" tests_in build
step "sanitizer build of the cores" asan_build
step "sanitizer tests of the cores" asan_tests

tests/install_packages.sh fuzz || echo "run.sh: clang could not be installed"
find_clang
if [ -n "$perigee_clang" ]; then
  step "fuzz" fuzz_targets "${PERIGEE_FUZZ_SECONDS:-60}"
else
  echo "run.sh: no clang here, so no fuzzing"
fi

if [ -x examples/demo.sh ]; then
  step "demo" examples/demo.sh --quick
fi
summary
echo "run.sh: all passed"
