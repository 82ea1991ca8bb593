# What config/setup, config/kafka/broker and config/kafka/tool share: where things are, which Java, how to fail.
# Sourced by bash, never run.
# shellcheck shell=bash disable=SC2034  # used by those who source it

export LC_ALL=C

EXIT_FAILED=1
EXIT_USAGE=2
EXIT_ENVIRONMENT=7

program=${0##*/}
kafka_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
checkout=$(cd "$kafka_folder/../.." && pwd) || exit 1

# fail CODE SENTENCE...: every error is a sentence on stderr that says what, where and what to do.
fail()
{
    local code=$1
    shift
    printf '%s: %s\n' "$program" "$*" >&2
    exit "$code"
}

have() { command -v "$1" >/dev/null 2>&1; }

# Not /tmp: that is a RAM disk on Debian 13, and a broker's log segments are large.
if [ -n "${XDG_CACHE_HOME:-}" ]; then
    cache=$XDG_CACHE_HOME/weir
elif [ -n "${HOME:-}" ]; then
    cache=$HOME/.cache/weir
else
    fail $EXIT_ENVIRONMENT "neither XDG_CACHE_HOME nor HOME is set, so there is no folder for downloads and broker data; set one of them"
fi

kafka_version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' "$kafka_folder/pom.xml")
[ -n "$kafka_version" ] || fail $EXIT_FAILED "no <kafka.version> in $kafka_folder/pom.xml"

# Complete or absent: config/setup fills a folder beside it and renames that. Named by the whole pom.xml, so that a changed
# list of jars is a new folder.
pom_sum=$(cksum < "$kafka_folder/pom.xml")
jars=$cache/kafka-$kafka_version-${pom_sum%% *}

# Kafka's classes as the JVM wants them in memory, written once by config/setup: a node is up in 1.4 s instead of 2.4. A JVM
# that cannot use the archive, say after an upgrade, goes without and says nothing.
class_archive=$jars/classes.jsa
java_archive=()
[ ! -e "$class_archive" ] || java_archive=(-XX:SharedArchiveFile="$class_archive" -Xlog:cds=off -Xlog:class+path=off)

# Kafka 4 needs Java 17. A user's older default must not hide a newer one that is installed beside it.
JAVA_MIN=17
find_java()
{
    local candidate version
    for candidate in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java)" /usr/lib/jvm/default-java/bin/java \
                     /usr/lib/jvm/*/bin/java; do
        [ -x "$candidate" ] || continue
        version=$("$candidate" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
        if [ "${version:-0}" -ge $JAVA_MIN ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# need_kafka: sets $java, or ends with the way out.
need_kafka()
{
    [ -d "$jars" ] ||
        fail $EXIT_ENVIRONMENT "Kafka's jars are not in $jars; run 'config/setup test' (or 'demo') in $checkout first"
    java=$(find_java) ||
        fail $EXIT_ENVIRONMENT "no Java $JAVA_MIN or newer was found; run 'config/setup test' (or 'demo') in $checkout, or set JAVA_HOME"
}
