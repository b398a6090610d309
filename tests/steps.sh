# Shared by run.sh and full.sh: steps with their times, and a closing summary that repeats what each
# ctest run said last. Source it from the root of the repository; bash.

perigee_jobs=${PERIGEE_JOBS:-$(nproc)}
perigee_summary=()
perigee_from=${PERIGEE_FROM:-}

# step NAME COMMAND...: runs it, and ends the script with its name when it fails. Steps before
# PERIGEE_FROM are passed over: after a failure, go on from there.
step() {
  local name=$1 began=$SECONDS status=0
  shift
  if [ -n "$perigee_from" ] && [ "$name" != "$perigee_from" ]; then
    echo "=== $name: passed over, the run begins with $perigee_from"
    return
  fi
  perigee_from=
  echo "=== $name"
  "$@" || status=$?
  perigee_summary+=("$(printf '%5d s  %s' $((SECONDS - began)) "$name")")
  if [ "$status" -ne 0 ]; then
    summary
    echo "FAILED: $name (exit $status): $*" >&2
    exit 1
  fi
}

# tests_in DIR [ctest arguments...]: runs the tests of a build and keeps ctest's closing lines.
tests_in() {
  local folder=$1 status=0
  shift
  ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$perigee_jobs" "$@" |
    tee "$folder/ctest.log" || status=$?
  perigee_summary+=("$(grep -A 40 'tests passed' "$folder/ctest.log" | sed "s|^|    $folder: |")")
  return "$status"
}

# fuzz_targets SECONDS: builds the fuzzers with clang and runs all of them side by side that long,
# each from its corpus. Finds are left in build-fuzz/ as crash-*, to be added to the corpus with
# their fix.
fuzz_targets() {
  local seconds=$1 target program status=0
  local -A running
  cmake -S . -B build-fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPERIGEE_FUZZ=ON \
    -DPERIGEE_CORES_ONLY=ON -DCMAKE_CXX_COMPILER="$perigee_clang" || return 1
  cmake --build build-fuzz -j "$perigee_jobs" --target wire_fuzz endpoint_fuzz || return 1
  for target in wire_fuzz endpoint_fuzz; do
    program=$(find build-fuzz -type f -name "$target" -perm -u+x | head -n 1)
    mkdir -p "build-fuzz/found/$target"
    "$program" -max_total_time="$seconds" -artifact_prefix=build-fuzz/ -print_final_stats=1 \
      -print_funcs=0 -verbosity=0 "build-fuzz/found/$target" \
      "tests/fuzz/corpus/${target%_fuzz}" >"build-fuzz/$target.log" 2>&1 &
    running[$target]=$!
  done
  for target in "${!running[@]}"; do
    wait "${running[$target]}" || { status=1 && tail -n 40 "build-fuzz/$target.log"; }
    echo "$target:" && tail -n 5 "build-fuzz/$target.log"
  done
  return "$status"
}

# find_clang: sets perigee_clang to the C++ compiler of clang, or to nothing.
find_clang() {
  perigee_clang=$(command -v clang++-14 || command -v clang++ || true)
}

summary() {
  echo "=== summary ($SECONDS s)"
  printf '%s\n' "${perigee_summary[@]}"
}
