#!/bin/sh
# The house rules that a machine can check: tools/tidy.sh [folder of the release objects].
# Prints what is wrong and how many of its checks passed; `make tidy` builds the objects first.
set -u
cd "$(dirname "$0")/.." || exit 1
objects=${1:-build/release}
jobs=$(nproc)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check NAME: the check ran well when it wrote nothing to $work/out.
check() {
    if [ -s "$work/out" ]; then
        sed "s/^/tidy: /" "$work/out"
        echo "FAIL tidy $1"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

find src -name '*.[ch]' | sort >"$work/src"
find src tests -name '*.[ch]' -o -name '*.def' | sort >"$work/code"
find tests tools contrib web .ci -name node_modules -prune -o \
    -type f \( -name '*.py' -o -name '*.sh' -o -name run -o -name '*.js' -o -name '*.css' \) \
    -print |
    sort >"$work/scripts"

# 1. Includes follow tools/layers, and enter another folder by a public header only.
xargs awk '
    function folder(p) { if (p !~ /\//) return p; sub("/[^/]*$", "", p); return p }
    function glob(g) { gsub(/\./, "\\.", g); gsub(/\*/, "[^/]*", g); return "^" g "$" }
    function allowed(from, to,  i) {
        for (i = 1; i <= rules; i++) if (who[i] == from && to ~ what[i]) return 1
        return 0
    }
    function public(path, to,  n, t, i) {
        n = split(to, t, "/")
        if (to == "base" || path == to "/" t[n] ".h") return 1
        for (i = 1; i <= publics; i++) if (path ~ free[i]) return 1
        return 0
    }
    BEGIN {
        while ((getline line < "tools/layers") > 0) {
            n = split(line, w, /[: \t]+/)
            if (line ~ /^\+/) { for (i = 2; i <= n; i++) free[++publics] = glob(w[i]) }
            if (line ~ /^[#+]/ || line !~ /:/) continue
            known[w[1]] = 1
            for (i = 2; i <= n; i++)
                if (w[i] != "") { who[++rules] = w[1]; what[rules] = glob(w[i]) }
        }
    }
    FNR == 1 {
        me = FILENAME; sub("^src/", "", me); from = folder(me)
        if (!(from in known)) print FILENAME ": folder " from " has no line in tools/layers"
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, q, "\""); to = folder(q[2])
        if (to !~ /\// && to == q[2]) {
            print FILENAME ":" FNR ": include \"" q[2] "\" by its path from src/"; next }
        if (to == from) next
        if (!allowed(from, to)) print FILENAME ":" FNR ": " from " may not include " to
        if (!public(q[2], to)) print FILENAME ":" FNR ": " q[2] " is private to " to
    }' <"$work/src" >"$work/out"
check layers

# 2. core, wire, api and link call nothing but base, one another and what tools/pure names.
objects_of() {
    grep -E "^src/($1)/.*\.c$" "$work/src" | grep -vE '_(test|fuzz)\.c$' |
        sed "s:^:$objects/:; s:c$:o:"
}
pure=$(objects_of 'core|wire|api|link'; find "$objects/gen" -name '*.o' 2>/dev/null)
base=$(objects_of base)
: >"$work/out"
for o in $pure $base; do [ -e "$o" ] || echo "$o"; done >"$work/unbuilt"
if [ -s "$work/unbuilt" ]; then
    echo "$(wc -l <"$work/unbuilt") objects are missing, such as $(head -n 1 "$work/unbuilt"):" \
        "run \`make tidy\`, which builds them" >"$work/out"
else
    : >"$work/used"
    nm -A -g --defined-only $pure $base >"$work/defined"
    [ -z "$pure" ] || nm -A -u $pure >"$work/used"
    awk '
        function glob(g) { gsub(/\./, "\\.", g); gsub(/\*/, ".*", g); return "^" g "$" }
        FILENAME == "tools/pure" {
            if ($1 ~ /^!/) no[++nos] = glob(substr($1, 2))
            else if ($1 != "" && $1 !~ /^#/) yes[++yess] = glob($1)
            next
        }
        FILENAME ~ /defined$/ { ours[$NF] = 1; next }
        {
            name = $NF; bad = !(name in ours)
            for (i = 1; bad && i <= yess; i++) if (name ~ yes[i]) bad = 0
            for (i = 1; !bad && i <= nos; i++) if (name ~ no[i]) bad = 1
            if (bad) { sub(/:.*/, "", $1)
                print $1 " uses " name ", which is not pure (tools/pure says what is)" }
        }' tools/pure "$work/defined" "$work/used" >"$work/out"
fi
check purity

# 3. Threads, locks and the outside world only in io.
others=$(objects_of 'base|core|wire|api|link|node|cli|confman')
others=$(for o in $others "$objects/src/main.o"; do [ ! -e "$o" ] || echo "$o"; done)
echo "$others" | xargs -r nm -A -u | awk '
    $NF ~ /^(pthread_|sem_|mtx_|cnd_|thrd_|epoll_|socket$|accept4?$|bind$|listen$|f(data)?sync$)/ {
        sub(/:.*/, "", $1); print $1 " uses " $NF ", which belongs into io" }' >"$work/out"
check outside

# 4. Sizes. A function is what stands between "{" and "}" in column one.
xargs awk '
    FNR == 1 { open = 0 }
    FNR == 1001 { print FILENAME ": file over 1000 lines" }
    /^\{/ { open = FNR }
    /^\}/ { if (open && FNR - open + 1 > 70) print FILENAME ":" open ": function over 70 lines"
            open = 0 }' <"$work/code" >"$work/out"
cat "$work/code" "$work/scripts" | xargs awk '
    length($0) > 100 { print FILENAME ":" FNR ": line over 100 columns" }' >>"$work/out"
check sizes

# 5. Nothing left lying about.
cat "$work/code" "$work/scripts" | grep -vF tools/tidy.sh | xargs awk '
    /[ \t]$/ { print FILENAME ":" FNR ": space at the end of the line" }
    /\t/ { print FILENAME ":" FNR ": a tab; use spaces" }
    /FIXME|TODO|(^|[^X])XXX([^X]|$)/ {
        print FILENAME ":" FNR ": left-over mark: do it, or say why not" }' \
    >"$work/out"
check tidiness

# 6. Every header compiles alone, says what it is in its first line, and is read once.
grep '\.h$' "$work/src" >"$work/headers"
: >"$work/out"
stands_alone='h=$1; o=$2; rel=${h#src/}
    msg=$(echo "#include \"$rel\"" | gcc -std=c11 -D_GNU_SOURCE -Isrc -I"$o/gen" -fsyntax-only \
        -Wall -Wextra -Werror -x c - 2>&1) ||
        echo "$h: does not compile alone: $(echo "$msg" | grep -m1 error)"'
xargs -P "$jobs" -I{} sh -c "$stands_alone" sh {} "$objects" <"$work/headers" >>"$work/out"
xargs awk '
    FNR == 1 && !/^\/\* [a-z0-9_]+: / {
        print FILENAME ": first line must say what it is: /* name: what. */" }
    /^#pragma once/ { once[FILENAME] = 1 }
    { seen[FILENAME] = 1 }
    END { for (f in seen) if (!(f in once)) print f ": has no #pragma once" }' \
    <"$work/headers" >>"$work/out"
check headers

# 7. No function decides too much (modified McCabe: a switch counts as one).
if command -v pmccabe >/dev/null; then
    grep '\.c$' "$work/src" | xargs pmccabe 2>/dev/null |
        awk '$1 > 20 { sub(/:$/, "", $6)
            print $6 ": " $7 " has a complexity of " $1 ", over 20" }' >"$work/out"
else
    echo "pmccabe is missing: run tools/deps.sh test" >"$work/out"
fi
check complexity

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
