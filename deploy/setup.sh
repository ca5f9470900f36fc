#!/usr/bin/env bash
# Makes a clone ready to run: system packages, .venv with the pinned requirements, the compiled
# core, Kafka's jars. Called by every target of the Makefile that needs any of it; each step looks
# first whether it is done, so that a second run costs a second.
#
# Missing system packages are installed with apt-get as root or through a sudo that asks for no
# password; otherwise one line says what to install.
#
# Environment: PYTHON  the interpreter to make .venv with; default: the first suitable one
#              CC      the C compiler; default: cc
#              GATEJOIN_CACHE, GATEJOIN_DEBUG, GATEJOIN_SANITIZE: deploy/kafka/fetch.sh, setup.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

java_version_min=17

fail() {
    echo "gatejoin: $*" >&2
    exit 1
}

# Whether $1 is a Python that this project and its compiled core can be built with.
python_suits() {
    "$1" - 2>/dev/null <<'PYTHON'
import os, sys, sysconfig
import ensurepip, venv  # Debian ships these two in packages of their own.
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
sys.exit(not (sys.version_info >= (3, 11) and os.path.exists(header)))
PYTHON
}

python_find() {
    local candidate
    local known="python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3"
    for candidate in ${PYTHON:-$known}; do
        if python_suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Whether there is a compiler that finds the C library's headers. CC may hold words after its name.
compiler_suits() {
    # shellcheck disable=SC2086
    echo '#include <stdlib.h>' | ${CC:-cc} -E -x c - >/dev/null 2>&1
}

# Whether clang has its fuzzer and sanitizers; the tests fuzz the compiled core.
fuzzer_suits() {
    echo 'int LLVMFuzzerTestOneInput(const char *data, long size) { return !data + !size; }' |
        clang -fsanitize=fuzzer,address,undefined -x c - -o /dev/null >/dev/null 2>&1
}

java_suits() {
    local version
    version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 |
        sed -n 's/.* version "\([0-9]*\).*/\1/p') || return 1
    [ "${version:-0}" -ge $java_version_min ]
}

venv_suits() { [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null; }

# Prints the system packages that are missing, one a line.
packages_missing() {
    compiler_suits || printf '%s\n' gcc libc6-dev
    venv_suits || python_find >/dev/null || printf '%s\n' python3 python3-dev python3-venv
    java_suits || echo default-jre-headless
    deploy/kafka/fetch.sh --check || command -v mvn >/dev/null || echo maven
    tests_packages_missing
}

# Of these, those that nothing but tests needs.
tests_packages_missing() {
    fuzzer_suits || printf '%s\n' clang libclang-rt-dev
    command -v valgrind >/dev/null || echo valgrind
    command -v aarch64-linux-gnu-gcc >/dev/null ||
        printf '%s\n' gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    command -v qemu-aarch64 >/dev/null || echo qemu-user
    command -v promtool >/dev/null || echo prometheus
    deploy/kubernetes/render.sh --check || command -v go >/dev/null || echo golang-go
    command -v node >/dev/null && command -v npm >/dev/null || printf '%s\n' nodejs npm
}

# Prints the packages of the benchmarks' peers in C++ that are missing.
peers_missing() {
    command -v g++ >/dev/null || echo g++
    printf '#include <boost/unordered/unordered_flat_map.hpp>' | g++ -E -x c++ - >/dev/null 2>&1 ||
        echo "$(apt-cache --names-only search '^libboost1.81-dev$' 2>/dev/null | cut -d ' ' -f 1)" |
        sed 's/^$/libboost-dev/'
    printf '#include <simdjson.h>' | g++ -E -x c++ - >/dev/null 2>&1 || echo libsimdjson-dev
}

# Installs packages, or says why not by its status; apt-get is heard only when it fails.
packages_install() {
    local as_root=() log status=0
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    command -v apt-get >/dev/null || return 1
    echo "Installing system packages: $*"
    # The package prometheus would start a server, now and at every boot; only its programs are
    # wanted. The file says so to Debian's package scripts, and is often there in containers.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
        "${as_root[@]}" install -m 755 /dev/stdin $policy <<<$'#!/bin/sh\nexit 101'
    fi
    log=$(mktemp)
    local apt_get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2)
    { "${apt_get[@]}" update && "${apt_get[@]}" install --yes --no-install-recommends "$@"; } \
        </dev/null >"$log" 2>&1 || status=$?
    [ $status = 0 ] || cat "$log" >&2
    rm -f "$log"
    if [[ " $* " = *" prometheus "* ]] && command -v systemctl >/dev/null; then
        "${as_root[@]}" systemctl --quiet disable prometheus >/dev/null 2>&1 || true
    fi
    if [ -n "$(trap -p EXIT)" ]; then
        "${as_root[@]}" rm -f $policy
        trap - EXIT
    fi
    return $status
}

mapfile -t missing < <(packages_missing)
if [ ${#missing[@]} -gt 0 ]; then
    packages_install "${missing[@]}" || true
    mapfile -t missing < <(packages_missing)
fi
mapfile -t missing_for_tests < <(tests_packages_missing)
if [ ${#missing[@]} -gt 0 ] && [ "${missing[*]}" = "${missing_for_tests[*]}" ]; then
    echo "gatejoin: missing, and may not be installed here: ${missing[*]}; only tests need" \
        "them" >&2
elif [ ${#missing[@]} -gt 0 ]; then
    fail "please install what is missing: apt-get install ${missing[*]}   (Python has to be 3.11" \
        "or later, Java $java_version_min or later)"
fi

mapfile -t peers < <(peers_missing)
if [ ${#peers[@]} -gt 0 ] && ! packages_install "${peers[@]}" 2>/dev/null; then
    echo "gatejoin: not installed: ${peers[*]}; the benchmarks against them will be skipped" >&2
fi

if ! venv_suits; then
    python=$(python_find) || fail "no Python 3.11 or later with its headers and venv was found;" \
        "set PYTHON to one (apt-get install python3 python3-dev python3-venv)"
    echo "Making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check --no-input)
stamp=.venv/installed-requirements
if ! cat pyproject.toml deploy/constraints.txt | cmp -s - $stamp; then
    echo "Installing the pinned requirements and building the core"
    # shellcheck disable=SC2046 # one argument a requirement
    "${pip[@]}" install $(.venv/bin/python -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')
    "${pip[@]}" install --no-build-isolation --constraint deploy/constraints.txt \
        --editable '.[test,bench,lint,build]'
    cat pyproject.toml deploy/constraints.txt >$stamp
fi
.venv/bin/python setup.py --quiet build_ext --inplace
# As pip does for what it installs: a worker's start takes 0.15 s longer where nobody may write it.
.venv/bin/python -m compileall -q core_ext stream

deploy/kafka/fetch.sh
deploy/kubernetes/render.sh --install
