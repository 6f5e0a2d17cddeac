#!/bin/sh
# Everything of a normal check, step by step; `make test` calls it. Each step's last line of the
# form "N passed, N failed" is added up; a step that ends badly without one counts as a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
logs=build/test
mkdir -p "$logs"
jobs=-j$(nproc)
passed=0
failed=0
started=$(date +%s)
unset MAKEFLAGS MFLAGS MAKELEVEL

# step NAME COMMAND...: runs it, shows only what failed, adds up its sum.
step() {
    name=$1
    shift
    log=$logs/$name.log
    before=$(date +%s)
    "$@" >"$log" 2>&1
    status=$?
    sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    good=$(echo "${sum:-0}" | awk '{ print $1 + 0 }')
    bad=$(echo "${sum:-0}" | awk '{ print $3 + 0 }')
    [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    [ "$status" != 0 ] || [ -n "$sum" ] || good=1
    passed=$((passed + good))
    failed=$((failed + bad))
    printf '%-18s %4d s   %d passed, %d failed.\n' \
        "$name" $(($(date +%s) - before)) "$good" "$bad"
    if [ "$bad" != 0 ]; then
        grep -vE '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 40 | sed 's/^/    /'
        echo "    ($log has all of it)"
    fi
    return "$status"
}
has() { ls $1 >/dev/null 2>&1; }

tools="build/release/linear build/release/subscribers"
step build make $jobs --no-print-directory confman objects $tools libconfman
step tidy tools/tidy.sh
step docs tests/docs_fresh.sh
step deps /usr/bin/python3 tools/deps_check.py
step tidy_test tests/tidy_test.sh
asan="build/asan/unit build/asan/confman build/asan/driver"
if step build_asan make $jobs --no-print-directory MODE=asan $asan; then
    step unit build/asan/unit
    step server_asan env CONFMAN_BIN=build/asan/confman \
        /usr/bin/python3 tests/server/run.py hostile python rest stream http door gateway
    step library_asan env CONFMAN_DRIVER=build/asan/driver \
        /usr/bin/python3 tests/server/run.py client
fi
for kind in story crash; do
    has "tests/$kind/*.c" || continue
    if step "build_$kind" make $jobs --no-print-directory MODE=asan "build/asan/$kind"; then
        step "$kind" "build/asan/$kind"
    fi
done
sims="build/asan/sim_raft build/asan/sim_world"
if step build_sim make $jobs --no-print-directory MODE=asan $sims; then
    step sim_raft build/asan/sim_raft --seeds 60
    step sim_world build/asan/sim_world --seeds 10
fi
if step build_replay make $jobs --no-print-directory MODE=asan build/asan/replay/run; then
    step replay tests/replay.sh
fi
if [ -x confman ]; then
    step server /usr/bin/python3 tests/server/run.py
    step differ /usr/bin/python3 tests/server/differ.py --ops 3000
    step auth_differ /usr/bin/python3 tests/server/auth_differ.py --ops 1000
    step kill /usr/bin/python3 tests/server/kill.py --rounds 3
    step cluster /usr/bin/python3 tests/cluster/run.py
fi

echo "it took $(($(date +%s) - started)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
