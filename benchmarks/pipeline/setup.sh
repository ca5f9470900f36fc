#!/usr/bin/env bash
# Makes the peers ready: an environment of their own for the Python ones, jars and classes for those
# on the Java virtual machine. Called by make bench-e2e; a second run costs a second. What can't be
# had is said in one line; the harness then leaves those peers out and says so in the result.
#
# Environment: GATEJOIN_CACHE  where they are kept; default ~/.cache/gatejoin.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GATEJOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatejoin}
venv=$cache/pipeline-peers-python
requirements=$here/peers/python/requirements.txt

if ! cmp -s "$requirements" "$venv/installed-requirements"; then
    echo "Installing the Python peers into $venv" >&2
    rm -rf "$venv"
    mkdir -p "$cache"
    "$here/../../.venv/bin/python" -m venv "$venv"
    # One after the other: a peer without a wheel for this Python must not take the others with it.
    grep -v '^#' "$requirements" | while read -r requirement; do
        "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install \
            --only-binary :all: "$requirement" </dev/null >&2 ||
            echo "gatejoin: $requirement can't be installed; its peer is left out" >&2
    done
    cp "$requirements" "$venv/installed-requirements"
fi
"$here/peers/jvm/fetch.sh" >/dev/null ||
    echo "gatejoin: the peers on the Java virtual machine are left out" >&2
