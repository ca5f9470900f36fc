#!/usr/bin/env bash
# Fetches what the peers on the Java virtual machine need, once, into the cache, and compiles them.
#
# Called by benchmarks/pipeline/setup.sh; may be called by hand. Needs Maven and a JDK with javac.
# What is fetched is pinned twice: the versions by pom.xml, every jar's checksum by jars.sha256.
# The classes are compiled again whenever a source here is newer than they are.
#
# Environment: GATEJOIN_CACHE  where downloads are kept; default ~/.cache/gatejoin.
# Prints the class path. To change a version: edit pom.xml, run "fetch.sh --lock", commit both.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GATEJOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatejoin}
target=$cache/pipeline-peers-jvm

fail() {
    echo "gatejoin: $*" >&2
    exit 1
}

command -v javac >/dev/null ||
    fail "javac is missing: install a JDK (apt-get install default-jdk-headless)"

fetched_before() {
    cmp -s "$here/jars.sha256" "$target/jars.sha256" &&
        (cd "$target" && sha256sum --check --status jars.sha256)
}

if [ "${1:-}" = --lock ] || ! fetched_before; then
    command -v mvn >/dev/null || fail "Maven is missing: install it (apt-get install maven)"
    mkdir -p "$cache"
    fetched=$(mktemp -d "$cache/.pipeline-peers-jvm.XXXXXX")
    trap 'rm -rf "$fetched"' EXIT
    chmod 755 "$fetched"
    echo "Fetching Flink, Kafka Streams and fastjson2 (160 MB) into $target" >&2
    MAVEN_OPTS="${MAVEN_OPTS:-} -Duser.home=$HOME" mvn --quiet --batch-mode \
        --no-transfer-progress --file "$here/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$fetched" </dev/null >&2 ||
        fail "the jars could not be fetched; the lines above say why. Run the same command again."
    if [ "${1:-}" = --lock ]; then
        (cd "$fetched" && LC_ALL=C sha256sum -- *.jar) >"$here/jars.sha256"
    fi
    (cd "$fetched" && sha256sum --check --quiet "$here/jars.sha256") >&2 ||
        fail "a jar is not the one pinned in jars.sha256; delete it from Maven's own store" \
            "(~/.m2/repository) and run the same command again"
    cp "$here/jars.sha256" "$fetched/jars.sha256"
    rm -rf "$target"
    mv "$fetched" "$target"
fi

classes=$target/classes
if [ -z "$(find "$classes" -name '*.class' 2>/dev/null)" ] ||
    [ -n "$(find "$here/src" -newer "$classes" -name '*.java')" ]; then
    rm -rf "$classes"
    mkdir -p "$classes"
    javac --release 17 -nowarn -cp "$target/*" -d "$classes" "$here"/src/*.java >&2
fi
echo "$classes:$target/*"
