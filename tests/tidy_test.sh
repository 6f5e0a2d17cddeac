#!/bin/sh
# Breaks a copy of the tree on purpose, one rule at a time; tidy must name what was broken.
set -u
cd "$(dirname "$0")/.." || exit 1
copy=$(mktemp -d) || exit 1
trap 'rm -rf "$copy"' EXIT
passed=0
failed=0
cp -r src tests tools contrib .ci Makefile "$copy/"
[ ! -d proto ] || cp -r proto "$copy/"
rm -rf "$copy/tests/server/npm/node_modules"
empty=$copy/empty.o
gcc -c -x c -o "$empty" /dev/null
gen=$PWD/build/release/gen
[ -d "$gen" ] || gen=""

# refuses WHAT EXPECTED: tidy must fail and say so.
refuses() {
    mkdir -p "$copy/build/release"
    [ -z "$gen" ] || cp -r "$gen" "$copy/build/release/"
    out=$(cd "$copy" && tools/tidy.sh 2>&1)
    if [ $? != 0 ] && echo "$out" | grep -qE "$2"; then
        passed=$((passed + 1))
    else
        echo "$out" | tail -n 5
        echo "FAIL tidy_test: $1: expected a line like: $2"
        failed=$((failed + 1))
    fi
    rm -rf "$copy/src/core/broken" "$copy/build" "$copy/src/base/broken.h"
    cp tools/layers "$copy/tools/layers"
}
# broken LINE...: a folder core/broken with one file; tools/layers lets it use base.
broken() {
    mkdir -p "$copy/src/core/broken"
    printf '%s\n' "$@" >"$copy/src/core/broken/broken.c"
    echo 'core/broken: base' >>"$copy/tools/layers"
}
compile() {
    o=$copy/build/release/src/core/broken/broken.o
    for c in $(cd "$copy" && find src -name '*.c'); do
        mkdir -p "$copy/build/release/$(dirname "$c")"
        cp "$empty" "$copy/build/release/${c%.c}.o"
    done
    gcc -c -o "$o" "$copy/src/core/broken/broken.c"
}

broken '#include "io/loop/loop.h"'
refuses 'core includes io' 'broken.c:1: core/broken may not include io/loop'

broken '#include "base/inner/hidden.h"'
refuses 'an insider header' 'broken.c:1: core/broken may not include base/inner'

broken '#include "core/kv/kv_tree.h"'
echo 'core/broken: base core/kv' >>"$copy/tools/layers"
refuses 'a private header' 'broken.c:1: core/kv/kv_tree.h is private to core/kv'

mkdir -p "$copy/src/core/broken" && echo 'int x;' >"$copy/src/core/broken/broken.c"
refuses 'a folder nobody knows' 'folder core/broken has no line in tools/layers'

broken '#include <time.h>' 'long broken_now(void);' 'long broken_now(void)' '{' \
    '    return time(NULL);' '}'
compile
refuses 'a clock in core' 'broken.o uses time, which is not pure'

broken '#include <stdlib.h>' 'void *broken_get(void);' 'void *broken_get(void)' '{' \
    '    return malloc(8);' '}'
compile
refuses 'the heap in core' 'broken.o uses malloc, which is not pure'

broken '#include <pthread.h>' 'int broken_lock(pthread_mutex_t *m);' \
    'int broken_lock(pthread_mutex_t *m)' '{' '    return pthread_mutex_lock(m);' '}'
compile
refuses 'a lock outside io' 'broken.o uses pthread_mutex_lock, which belongs into io'

broken 'int broken_long(int a);' 'int broken_long(int a)' '{' "$(yes '    a++;' | head -n 69)" \
    '    return a;' '}'
refuses 'a long function' 'broken.c:3: function over 70 lines'

broken "$(yes 'extern int broken;' | head -n 1001)"
refuses 'a long file' 'broken.c: file over 1000 lines'

broken "/* $(yes wide | head -n 25 | tr '\n' ' ')*/"
refuses 'a wide line' 'broken.c:1: line over 100 columns'

broken 'int broken; '
refuses 'a trailing space' 'broken.c:1: space at the end of the line'

printf '%s\n' '#pragma once' 'size_t broken(void);' >"$copy/src/base/broken.h"
refuses 'a header that needs another' 'broken.h: does not compile alone'

printf '%s\n' '#pragma once' >"$copy/src/base/broken.h"
refuses 'a header that does not say what it is' 'broken.h: first line must say what it is'

broken 'int broken_many(int a);' 'int broken_many(int a)' '{' \
    "$(yes '    if (a & 3) a++;' | head -n 25)" '    return a;' '}'
refuses 'a function of many ways' 'broken_many has a complexity of 26'

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
