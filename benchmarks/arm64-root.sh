#!/usr/bin/env bash
# Prepares what `lightsr-bench device --emulate` needs: an arm64 Python with the aarch64 wheels of
# onnxruntime and numpy at the versions of constraints.txt, and the plugin that counts instructions.
# With --tests also the aarch64 wheels that the runtime's tests need, for `make test-arm`.
#
#   bash benchmarks/arm64-root.sh [--tests] DIR
#   export LIGHTSR_ARM_ROOT=DIR
#
# Needs Debian 12, or another system with these programs: debootstrap, dpkg, qemu-aarch64, gcc,
# python3 with pip; root rights or fakeroot; 300 MB, with --tests 450; access to a Debian mirror and
# to a package index. DIR is only ever complete or, without its file `ready`, not usable; run again
# to finish or to renew it.
#
#   DEBIAN_MIRROR   mirror of Debian (default http://deb.debian.org/debian)
#   PYTHON          Python whose pip downloads the wheels (default python3)
set -euo pipefail

FORMAT=1 # of DIR; emulation.py refuses others
SUITE=bookworm
PYTHON_VERSION=3.11 # of the suite; wheels are for it
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
PYTHON=${PYTHON:-python3}
TEST_PACKAGES="hypothesis nibabel onnx pillow pydicom pyjpegls pylibjpeg-openjpeg pylibjpeg-rle pytest tifffile"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
constraints=$here/../constraints.txt

say() { echo "arm64-root: $*" >&2; }
fail() { say "$*"; exit 1; }

tests=
if [ "${1:-}" = --tests ]; then
    tests=yes
    shift
fi
[ $# -eq 1 ] && [ -n "$1" ] && [ "${1#-}" = "$1" ] || fail "usage: bash benchmarks/arm64-root.sh [--tests] DIR"
[ "$(uname -s)" = Linux ] || fail "user-mode emulation works on Linux only, this is $(uname -s)"

# What is needed.
missing=()
command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v dpkg >/dev/null || missing+=(dpkg)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
[ -r "$KEYRING" ] || missing+=(debian-archive-keyring)
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
[ -n "$qemu" ] || missing+=(qemu-user)
command -v fakeroot >/dev/null || [ "$(id -u)" -eq 0 ] || missing+=(fakeroot)
[ ${#missing[@]} -eq 0 ] || fail "missing: ${missing[*]}; run: apt-get install ${missing[*]}"
"$PYTHON" -m pip --version >/dev/null 2>&1 || fail "$PYTHON has no pip; set PYTHON to one that has it"
[ -r "$constraints" ] || fail "$constraints is missing; run this script from lightsr's source"

mkdir -p "$1"
root=$(cd "$1" && pwd)
if [ ! -e "$root/format" ] && [ -n "$(ls -A "$root")" ]; then
    fail "$root: holds something else; name a new or empty folder"
fi
wanted=$(printf '%s\n' "$FORMAT" "$SUITE" "$("$qemu" --version | head -n 1)"
         grep -E '^(flatbuffers|numpy|onnxruntime|packaging|protobuf)==' "$constraints"
         cat "$here/lightsr_bench/instructions.c")
wanted=$(sha256sum <<<"$wanted" | cut -d ' ' -f 1)
wanted_tests=$(sha256sum <<<"$wanted $TEST_PACKAGES $(cat "$constraints")" | cut -d ' ' -f 1)
is_built() { [ -e "$root/ready" ] && [ "$(cat "$root/built-from" 2>/dev/null)" = "$wanted" ]; }
has_tests() { [ "$(cat "$root/tests/built-from" 2>/dev/null)" = "$wanted_tests" ]; }
if is_built && { [ -z "$tests" ] || has_tests; }; then
    say "$root is ready already"
    exit 0
fi

rm -rf "$root/work"
is_built || rm -f "$root/ready"
echo "$FORMAT" >"$root/format"
mkdir "$root/work"
work=$root/work
trap 'rm -rf "$work"' EXIT

# Debian's arm64 packages.
if [ ! -e "$root/system/complete" ]; then
    say "downloading arm64 packages of Debian $SUITE from $MIRROR"
    as_root=()
    if command -v fakeroot >/dev/null; then as_root=(fakeroot); fi
    "${as_root[@]}" debootstrap --arch=arm64 --download-only --variant=minbase --force-check-gpg \
        --keyring="$KEYRING" --include=python3,libgomp1,libstdc++6 "$SUITE" "$work/debs" "$MIRROR" \
        >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; fail "debootstrap failed; DEBIAN_MIRROR names another mirror"; }
    say "unpacking them"
    rm -rf "$root/system"
    mkdir "$work/system"
    for package in "$work"/debs/var/cache/apt/archives/*.deb; do
        dpkg -x "$package" "$work/system"
    done
    # What only a real system has a use for.
    rm -rf "$work/system"/{boot,dev,proc,run,sys,tmp,var} "$work/system"/usr/share/{doc,locale,man}
    touch "$work/system/complete"
    mv "$work/system" "$root/system"
fi

# Wheels.
download() { # FOLDER PACKAGE...
    local folder=$1
    shift
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --constraint "$constraints" \
        --implementation cp --python-version "$PYTHON_VERSION" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
        --dest "$folder" "$@" || fail "pip could not download the wheels"
}
unpack() { # FOLDER WHEEL...
    local folder=$1 wheel
    shift
    mkdir "$folder"
    for wheel; do "$PYTHON" -m zipfile -e "$wheel" "$folder"; done
    # Compiled once here, so that no measured process has to; modules for other Pythons may fail. By this machine's
    # Python where its code is the same: it is many times as fast.
    "${compiler[@]}" -m compileall -q "$folder" >/dev/null 2>&1 || true
}
guest=("$qemu" -L "$root/system")
program=$root/system/usr/bin/python$PYTHON_VERSION
compiler=("${guest[@]}" "$program")
if [ "$("$PYTHON" -c 'import sys; print(sys.implementation.cache_tag)')" = "cpython-${PYTHON_VERSION/./}" ]; then
    compiler=("$PYTHON")
fi
say "downloading aarch64 wheels"
download "$work/wheels" onnxruntime
if ! is_built; then
    unpack "$work/packages" "$work"/wheels/*.whl
    PYTHONPATH=$work/packages "${guest[@]}" "$program" -c 'import numpy' || fail "$qemu cannot run the arm64 Python"
    rm -rf "$root/packages"
    mv "$work/packages" "$root/packages"
fi
if [ -n "$tests" ]; then
    # shellcheck disable=SC2086 # one word a package
    download "$work/more" onnxruntime $TEST_PACKAGES
    for wheel in "$work"/wheels/*.whl; do rm -f "$work/more/${wheel##*/}"; done
    unpack "$work/tests" "$work"/more/*.whl
    echo "$wanted_tests" >"$work/tests/built-from"
    rm -rf "$root/tests"
    mv "$work/tests" "$root/tests"
fi

# Plugin.
rm -f "$root/instructions.so"
major=$("$qemu" --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
if "$qemu" --help | grep -q -e '^-plugin'; then
    gcc -O2 -Wall -shared -fPIC -DAPI_VERSION=$((major < 9 ? 1 : 2)) \
        -o "$work/instructions.so" "$here/lightsr_bench/instructions.c"
    if "${guest[@]}" -plugin "$work/instructions.so,out=$work/counts" "$program" -c 'import os; os.getsid(0)' &&
        [ -s "$work/counts" ]; then
        mv "$work/instructions.so" "$root/instructions.so"
    else
        say "$qemu does not take the plugin: instructions will not be counted"
    fi
else
    say "$qemu takes no plugins (qemu-user of Debian 12 does): instructions will not be counted"
fi

echo "$wanted" >"$root/built-from"
echo "$FORMAT" >"$root/ready"
say "ready; set LIGHTSR_ARM_ROOT=$root"
