#!/bin/sh
# Runs every fuzz target on its corpus and on inputs made of it: tests/replay.c says how.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p build/fuzz
one='log=build/fuzz/$1.replay
    if build/asan/replay/run "$1" >"$log" 2>&1; then
        cat "$log"
    else
        tail -n 12 "$log"
        echo "FAIL $1: build/asan/replay/run $1; the input is build/fuzz/$1-crash, see $log"
    fi'
build/asan/replay/run --list | xargs -P "$(nproc)" -I{} sh -c "$one" sh {} >build/fuzz/replay
cat build/fuzz/replay
passed=$(grep -c '^ok ' build/fuzz/replay)
failed=$(grep -c '^FAIL ' build/fuzz/replay)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
