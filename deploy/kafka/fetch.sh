#!/usr/bin/env bash
# Fetches Apache Kafka's jars, once, into the cache from which stream/local_kafka.py starts brokers.
#
# Called by deploy/setup.sh; may be called by hand. Needs Maven and a JDK. What is fetched is pinned
# twice: the versions by pom.xml, every jar's checksum by jars.sha256. The directory appears under
# its final name only when all jars are there and right, and the copy of jars.sha256 inside it is
# the sign of that, which the reader checks too.
#
# Environment: GATEJOIN_CACHE  where downloads are kept; default ~/.cache/gatejoin.
# "fetch.sh --check" only tells, by its exit status, whether all is there.
# To change a version: edit pom.xml, run "fetch.sh --lock", commit both files.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
cache=${GATEJOIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gatejoin}
target=$cache/kafka-$version

fetched_before() {
    cmp -s "$here/jars.sha256" "$target/jars.sha256" &&
        (cd "$target" && sha256sum --check --status jars.sha256)
}

case ${1:-} in
--check) fetched_before && exit 0 || exit 1 ;;
--lock) ;;
*) ! fetched_before || exit 0 ;;
esac

if ! command -v mvn >/dev/null; then
    echo "gatejoin: Maven is missing: install the package maven (apt-get install maven)" >&2
    exit 1
fi

mkdir -p "$cache"
fetched=$(mktemp -d "$cache/.kafka-$version.XXXXXX")
trap 'rm -rf "$fetched"' EXIT
chmod 755 "$fetched"

echo "Fetching Apache Kafka $version (45 MB) into $target"
# Maven takes the home directory from the user's entry, which in a container may be nonsense, and
# colours even what nobody sees.
if ! MAVEN_OPTS="${MAVEN_OPTS:-} -Duser.home=$HOME" mvn --quiet --batch-mode \
    --no-transfer-progress --file "$here/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$fetched" </dev/null 2>&1 | sed 's/\x1b\[[0-9;]*m//g'; then
    echo "gatejoin: Kafka's jars could not be fetched; the lines above say why (network, proxy," \
        "disk). Run the same command again: what was fetched is kept by Maven." >&2
    exit 1
fi

if [ "${1:-}" = --lock ]; then
    (cd "$fetched" && LC_ALL=C sha256sum -- *.jar) >"$here/jars.sha256"
fi
if ! (cd "$fetched" && sha256sum --check --quiet "$here/jars.sha256") >&2; then
    echo "gatejoin: a jar of Kafka $version is not the one pinned in deploy/kafka/jars.sha256;" \
        "delete it from Maven's own store (~/.m2/repository) and run the same command again" >&2
    exit 1
fi
cp "$here/jars.sha256" "$fetched/jars.sha256"
rm -rf "$target"
mv "$fetched" "$target"
