#!/bin/sh
# Packages that nibble needs, from Debian 12 (or a relative of it).
#   tools/deps.sh           what the build needs
#   tools/deps.sh --test    and what the tests need
#   tools/deps.sh --full    and what .ci/run needs (clang 19, aarch64 compiler and libraries, qemu)
#   ... --check             only looks; prints the line to run when something is missing
# Installs through apt-get as root, or through sudo where that asks nothing; otherwise prints the one
# line to run. Does nothing, quickly, when all is there.
set -eu
build="gcc make meson ninja-build pkg-config libjansson-dev libpcre2-dev libutf8proc-dev libxxhash-dev libprotobuf-c-dev protobuf-c-compiler libpng-dev libturbojpeg0-dev"
tests="libcmocka-dev"
full="scdoc clang-19 libclang-rt-19-dev clang-format-14 gcc-aarch64-linux-gnu qemu-user python3-venv libonnx-testdata"
arm64="libjansson-dev:arm64 libpcre2-dev:arm64 libutf8proc-dev:arm64 libxxhash-dev:arm64 libprotobuf-c-dev:arm64 libcmocka-dev:arm64"
want=$build
check=no
cross=no
for arg; do
    case $arg in
    --test) want="$build $tests" ;;
    --full) want="$build $tests $full" cross=yes ;;
    --check) check=yes ;;
    *)
        echo "usage: tools/deps.sh [--test|--full] [--check]" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then # not Debian: trust the user, meson will say what it misses
    exit 0
fi
[ "$cross" = yes ] && [ "$(dpkg --print-architecture)" = amd64 ] && want="$want $arm64"
installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -q '^installed$'
}
missing=
for p in $want; do
    installed "$p" || missing="$missing $p"
done
# A program of the same name from elsewhere (pip, a newer compiler) serves as well.
for pair in meson:meson ninja-build:ninja make:make gcc:cc pkg-config:pkg-config; do
    command -v "${pair#*:}" >/dev/null && missing=$(echo " $missing " | sed "s/ ${pair%:*} / /")
done
missing=$(echo $missing)
[ -n "$missing" ] || exit 0

line="apt-get install -y --no-install-recommends $missing"
pre=
case $missing in *:arm64*) pre="dpkg --add-architecture arm64 && apt-get update && " ;; esac
if [ "$check" = yes ]; then
    echo "missing packages; run as root: $pre$line" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    sudo=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo="sudo -n"
else
    echo "missing packages; run as root: $pre$line" >&2
    exit 1
fi
echo "installing: $missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -z "$pre" ] || $sudo dpkg --add-architecture arm64
{ [ -z "$pre" ] && $sudo $line </dev/null; } >"$log" 2>&1 ||
    { $sudo apt-get update && $sudo $line </dev/null; } >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "installing failed; run as root: $pre$line" >&2
    exit 1
}
