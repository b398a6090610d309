#!/bin/bash
# Installs what `perigee-bench compare` needs for its PCCL rows into a folder outside of git:
#
#   bench/peers/install.sh [FOLDER]      default: build/peers-venv
#
# FOLDER/peer-pccl starts the peer afterwards. When it cannot be, FOLDER/NOT_INSTALLED says why in
# one line, compare prints it in the row, and the exit code is 1.
#
# pypccl's wheel is made for newer Pythons and a newer C library than Debian 12's. Its own code
# loads with any Python 3, through cffi. Where the C library is too old, that of the next Debian is
# unpacked beside it, and only this one program runs with it. It wants libcuda too, although it
# reduces on the CPU: where there is none, an empty one stands in.
set -eu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-$here/../../build/peers-venv}
python=${PYTHON:-python3}
newer_debian=trixie
library_packages="libc6 libgcc-s1 libgomp1 libstdc++6"

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
log=$folder/install.log
: >"$log"
rm -f "$folder/NOT_INSTALLED" "$folder/peer-pccl"

give_up() {
  echo "$1" >"$folder/NOT_INSTALLED"
  echo "install.sh: PCCL is not installed: $1 (see $log)" >&2
  exit 1
}

make_environment() {
  [ -x "$folder/bin/pip" ] || "$python" -m venv "$folder" >>"$log" 2>&1 ||
    give_up "python3 -m venv fails: tests/install_packages.sh bench"
  "$folder/bin/pip" install -q cffi numpy >>"$log" 2>&1 ||
    give_up "pip cannot install cffi and numpy"
}

pip_wheel() {
  "$folder/bin/pip" install -q --no-deps --target "$folder/wheel" "$@" pypccl >>"$log" 2>&1
}

# The wheel for this Python, or else the one for another: what it has of its own is Python.
install_wheel() {
  rm -rf "$folder/wheel"
  pip_wheel ||
    pip_wheel --only-binary=:all: --python-version 3.12 --platform "manylinux_2_17_$(uname -m)" ||
    give_up "PyPI has no pypccl wheel for $(uname -m)"
}

# Unpacks the newer C and C++ libraries to $folder/newer.
fetch_libraries() {
  local sources list options package work=$folder/apt
  sources=$(grep -lsE '^(deb |URIs:).*/debian' /etc/apt/sources.list \
    /etc/apt/sources.list.d/*.sources | head -n 1)
  if [ -z "$sources" ] || ! grep -q bookworm "$sources"; then
    give_up "the C library is older than 2.38 and this is not Debian 12"
  fi
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$folder/newer"
  list=$work/newer.${sources##*.}
  sed -e "s/bookworm-[a-z]*//g" -e "s/bookworm/$newer_debian/g" "$sources" |
    awk -v RS= -v ORS='\n\n' "/$newer_debian/" >"$list"
  options="-o Dir::Etc::sourcelist=$list -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache -o APT::Sandbox::User=root"
  # shellcheck disable=SC2086  # the options and the packages are words
  (cd "$work" && rm -f ./*.deb && apt-get $options update &&
    apt-get $options download $library_packages) >>"$log" 2>&1 ||
    give_up "the C library is older than 2.38 and Debian $newer_debian cannot be reached"
  for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$folder/newer" >>"$log" 2>&1
  done
}

# Every function of it answers "no device" (100).
make_empty_libcuda() {
  ldconfig -p | grep -q 'libcuda\.so\.1' && return
  mkdir -p "$folder/stub"
  nm -D --undefined-only "$folder/wheel/pccl/libpccl.so" |
    awk '$2 ~ /^cu/ {print "int " $2 "(void) { return 100; }"}' |
    cc -shared -fPIC -Wl,-soname,libcuda.so.1 -x c -o "$folder/stub/libcuda.so.1" - \
      >>"$log" 2>&1 || give_up "no C compiler for an empty libcuda.so.1"
}

# write_launcher SITE_PACKAGES WORD...: the words start Python.
write_launcher() {
  local site=$1
  shift
  cat >"$folder/peer-pccl" <<EOF
#!/bin/sh
# Written by bench/peers/install.sh.
export PYTHONPATH='$folder/wheel:$site'
exec$(printf " '%s'" "$@") '$here/pccl_peer.py' "\$@"
EOF
  chmod +x "$folder/peer-pccl"
}

libraries_of() {
  ldd "$1" | grep -oE "/[^ ]*/$2" | head -n 1
}

make_environment
install_wheel
make_empty_libcuda
interpreter=$("$folder/bin/python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
libraries=$(dirname "$(libraries_of "$interpreter" libc.so.6)")
own=$folder/stub:$(dirname "$interpreter")/../lib:$libraries
version=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
if [ "$(printf '%s\n2.38\n' "$version" | sort -V | head -n 1)" = 2.38 ]; then
  write_launcher "$site" env "LD_LIBRARY_PATH=$own" "$interpreter"
else
  fetch_libraries
  loader=$(basename "$(libraries_of "$interpreter" 'ld-linux[^ ]*')")
  loader=$(find "$folder/newer" -name "$loader" | head -n 1)
  newer=$(dirname "$(find "$folder/newer" -name libc.so.6 | head -n 1)")
  write_launcher "$site" "$loader" --argv0 python3 \
    --library-path "$folder/stub:$newer:$own" "$interpreter"
fi
"$folder/peer-pccl" --version >>"$log" 2>&1 || give_up "pypccl does not load: $(tail -n 1 "$log")"
echo "PCCL: $("$folder/peer-pccl" --version), $folder/peer-pccl"
