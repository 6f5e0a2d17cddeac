#!/bin/sh
# Runs the built fuzz targets for some seconds each, as many at a time as there are processors:
# tests/run_fuzz.sh SECONDS [NAME]. tests/corpus/NAME holds inputs worth keeping; what a run finds
# goes to build/corpus/NAME. An input that crashes is left in build/fuzz and named.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-60}
only=${2:-}
mkdir -p build/fuzz/logs
one='target=$1; seconds=$2; name=$(basename "$target" _fuzz); log=build/fuzz/logs/$name.log
    seeds=""; [ ! -d "tests/corpus/$name" ] || seeds=tests/corpus/$name
    mkdir -p "build/corpus/$name"
    if "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$name-" $keep $seeds >"$log" 2>&1; then
        echo "ok $name: $(awk "/number_of_executed_units/ { print \$2 }" "$log") inputs"
    else
        tail -n 12 "$log"
        echo "FAIL fuzz $name: $(grep -m1 "Test unit written to" "$log"); see $log"
    fi'
find build/fuzz -name "*${only}*_fuzz" -type f -perm -u+x | sort |
    xargs -r -P "$(nproc)" -I{} sh -c "$one" sh {} "$seconds" >build/fuzz/logs/all
cat build/fuzz/logs/all
passed=$(grep -c '^ok ' build/fuzz/logs/all)
failed=$(grep -c '^FAIL ' build/fuzz/logs/all)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
