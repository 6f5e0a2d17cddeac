#!/bin/sh
# Both simulators for so many seconds, side by side: soak.sh SECONDS. Whole nodes have one
# processor, raft the other: half of the time without leader leases, half with.
set -u
seconds=${1:?how long}
sims=build/asan
out=$(mktemp -d)
first=$(date +%s)
"$sims/sim_world" --first "$first" --seconds "$seconds" >"$out/world" 2>&1 &
world=$!
status=0
"$sims/sim_raft" --first "$first" --seconds $((seconds / 2)) >"$out/raft" 2>&1 || status=1
"$sims/sim_raft" --first "$first" --seconds $((seconds / 2)) --lease >"$out/lease" 2>&1 || status=1
wait "$world" || status=1
for sim in raft lease world; do
    echo "== sim $sim"
    tail -n 60 "$out/$sim"
done
rm -r "$out"
exit "$status"
