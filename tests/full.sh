#!/bin/bash
# What tests/run.sh does and then the long part, for releases and for changes to the cores: hours on
# 2 cores.
#
#   tests/full.sh
#   PERIGEE_SEEDS=200 PERIGEE_FUZZ_SECONDS=60 tests/full.sh    a short rehearsal
#   PERIGEE_FROM="clang build" tests/full.sh                   goes on with that step
#
# 1. formatting and clang-tidy; 2. clang with warnings as errors; 3. the leaves with threads under
# ThreadSanitizer; 4. thousands of simulation seeds; 5. real jobs whose members and coordinator are
# killed and stopped at random moments; 6. a coordinator that is killed 100 times while a job trains
# (PERIGEE_COORDINATOR_KILLS); 7. ten minutes of each fuzz target.
set -euo pipefail
if [ $# -gt 0 ]; then  # there are no flags: --help and mistakes get the same answer
  sed -n '2,12s/^# \{0,1\}//p' "$0"
  [ "$1" = --help ] || exit 2
  exit 0
fi
cd "$(dirname "$0")/.."
. tests/steps.sh
seeds=${PERIGEE_SEEDS:-2000}

ours() {
  git ls-files -- '*.h' '*.cc'
}

check_format() {
  ours | xargs clang-format-14 --dry-run -Werror
}

clang_build() {
  cmake --preset dev -DCMAKE_CXX_COMPILER="$perigee_clang" -DPERIGEE_TEST_TIMEOUT=14400 &&
    cmake --build build-dev -j "$perigee_jobs"
}

# The precompiled header is a compiler artefact that clang-tidy of the same version can read.
check_tidy() {
  ours | grep '\.cc$' | grep -v '^tests/fuzz/' |
    xargs -P "$perigee_jobs" -n 4 clang-tidy-14 -p build-dev --quiet
}

tsan_build() {
  cmake --preset tsan && cmake --build build-tsan -j "$perigee_jobs"
}

# Abseil's, gRPC's and protobuf's own code is not instrumented: what happens inside it is not for us
# to judge.
tsan_tests() {
  local options="ignore_noninstrumented_modules=1 suppressions=$PWD/tests/tsan_suppressions.txt"
  TSAN_OPTIONS=$options tests_in build-tsan -LE core
}

seed_tests() {
  PERIGEE_SEEDS=$seeds tests_in build-dev -L core
}

# Each seed is a job of real processes and its twin without faults, compared bit for bit.
churn() {
  local seed
  for seed in $(seq "${PERIGEE_CHURN_SEEDS:-5}"); do
    build/bin/example-train --faults churn --steps 120 --microbatches 12 --seed "$seed" || return 1
  done
}

# The whole job loses its power by plan and wakes up as itself.
blackout() {
  build/bin/example-train --faults blackout --nodes 5 --steps 60 --microbatches 10
}

step "the short run" env -u PERIGEE_FROM PERIGEE_FUZZ_SECONDS=1 tests/run.sh
step "packages" tests/install_packages.sh build fuzz lint
find_clang
step "format" check_format
step "clang build" clang_build
step "clang tests" tests_in build-dev
step "clang-tidy" check_tidy
step "thread sanitizer build" tsan_build
step "thread sanitizer tests of the leaves" tsan_tests
step "$seeds seeds" seed_tests
step "churn" churn
step "blackout" blackout
step "coordinator kills" tests/coordinator_kills.sh "${PERIGEE_COORDINATOR_KILLS:-100}"
step "fuzz" fuzz_targets "${PERIGEE_FUZZ_SECONDS:-600}"
summary
echo "full.sh: all passed"
