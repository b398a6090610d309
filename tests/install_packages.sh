#!/bin/sh
# The Debian 12 and Ubuntu 24.04 packages that Perigee needs, in one place.
#
#   tests/install_packages.sh build          installs what building and running needs
#   tests/install_packages.sh build fuzz     ... and the fuzzers
#   tests/install_packages.sh build bench    ... and what bench/peers, micro and report want
#   tests/install_packages.sh --list lint    prints the missing packages and installs nothing
#
# Groups: build, fuzz, lint, bench. Uses apt-get, through sudo when not root. Exit 0 when nothing is
# missing at the end.
set -eu

build="g++ cmake ninja-build ccache pkg-config git ca-certificates python3
  libabsl-dev libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libssl-dev
  libisal-dev libxxhash-dev libspdlog-dev nlohmann-json3-dev libcli11-dev libeigen3-dev
  libyaml-cpp-dev prometheus-cpp-dev libsqlite3-dev libgtest-dev libgmock-dev"
fuzz="clang-14 libclang-rt-14-dev"
lint="clang-14 clang-format-14 clang-tidy-14"
bench="libgloo-dev libbenchmark-dev python3-matplotlib python3-venv"

# is_installed PACKAGE: installed, or provided by an installed package (pkg-config by pkgconf).
is_installed() {
  dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null |
    grep '^installed ' | tr ',' ' ' | tr -s ' ' '\n' | grep -qxF -- "$1"
}

missing_of() {
  for package in "$@"; do
    is_installed "$package" || echo "$package"
  done
}

list=no
wanted=""
for argument in "$@"; do
  case "$argument" in
    --list) list=yes ;;
    build) wanted="$wanted $build" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    lint) wanted="$wanted $lint" ;;
    bench) wanted="$wanted $bench" ;;
    *)
      echo "install_packages.sh: unknown group '$argument'; groups are build, fuzz, lint, bench" >&2
      exit 2
      ;;
  esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
  echo "install_packages.sh: no dpkg here; install by hand:$(echo $wanted)" >&2
  exit 1
fi
# shellcheck disable=SC2086  # the lists are words
missing=$(missing_of $wanted)
if [ "$list" = yes ]; then
  [ -z "$missing" ] || echo "$missing"
  exit 0
fi
[ -n "$missing" ] || exit 0

echo "installing:" $missing
as_root=""
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "install_packages.sh: neither root nor sudo; run as root: apt-get install" $missing >&2
    exit 1
  fi
  as_root=sudo
fi
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
# shellcheck disable=SC2086
missing=$(missing_of $wanted)
if [ -n "$missing" ]; then
  echo "install_packages.sh: still missing:" $missing >&2
  exit 1
fi
