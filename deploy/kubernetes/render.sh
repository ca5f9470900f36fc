#!/usr/bin/env bash
# Prints an overlay as Kubernetes would get it: "render.sh production | kubectl apply -f -".
#
# Takes the first of kustomize 5, a kubectl with it, and a kustomize that "render.sh --install" has
# built with Go into the cache, for machines that have neither; deploy/setup.sh calls that.
#
# Environment: GATEJOIN_CACHE  where that kustomize is kept; default ~/.cache/gatejoin.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# The newest that builds with Debian 12's Go.
version=v5.0.1
cache=${GATEJOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatejoin}
built=$cache/kustomize-$version/kustomize

# Prints the command that renders, or fails.
renderer() {
    if kustomize version 2>/dev/null | grep -q 'v5\.'; then
        echo kustomize build
    elif kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v5\.'; then
        echo kubectl kustomize
    elif [ -x "$built" ]; then
        echo "$built" build
    else
        return 1
    fi
}

case ${1:-} in
--check) renderer >/dev/null ;;
--install)
    renderer >/dev/null && exit
    echo "Building kustomize $version into ${built%/*}"
    GOBIN=${built%/*} GOFLAGS=-mod=mod GOTOOLCHAIN=local \
        go install "sigs.k8s.io/kustomize/kustomize/v5@$version"
    ;;
development | production)
    render=$(renderer) || {
        echo "gatejoin: neither kustomize 5 nor a kubectl with it is here; run make setup" >&2
        exit 1
    }
    exec $render "$here/overlays/$1"
    ;;
*)
    echo "usage: render.sh development|production" >&2
    exit 2
    ;;
esac
