#!/bin/sh
# What is made from tables stands in docs/ as the tables say it now.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
good=0
check() {
    if build/release/confman docs "$1" | cmp -s - "$2"; then
        good=$((good + 1))
    else
        echo "$2 is not what \`confman docs $1\` says: run make docs"
        bad=$((bad + 1))
    fi
}
for d in parameters metrics rest errors peer push cli etcd-flags; do
    check $d docs/reference/$d.md
done
check man docs/confman.1
echo "$good passed, $bad failed"
[ "$bad" = 0 ]
