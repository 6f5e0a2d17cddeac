#!/bin/sh
# Installs the Debian packages that are missing, and nothing else:
# deps.sh build|test|conformance|soak|cover|format.
#   build   what it takes to build and run       test    that, and what the tests use
#   conformance   test, the clients whose own suites are run, promtool, and Chromium for the page
#   soak    that, and spin                       cover   test, and gcovr
#   format  clang-format alone
# Silent and quick when all is there. Says what it does; uses sudo when it is not run by root.
set -eu

build="gcc make python3 libc6-dev libnghttp2-dev libssl-dev libjansson-dev libwslay-dev libyaml-dev
       zlib1g-dev libxxhash-dev libcrypt-dev libpcre2-dev
       libcurl4-openssl-dev"
test="g++ pkg-config clang-14 libclang-rt-14-dev pmccabe protobuf-compiler curl openssl
      ca-certificates etcd-server etcd-client python3-etcd3 python3-grpcio python3-protobuf
      python3-websockets python3-aiohttp python3-cryptography python3-jwt
      python3-hvac python3-yaml"
suites="json-schema-test-suite python3-etcd3gw python3-tooz python3-oslotest python3-testtools
        python3-fixtures python3-ddt prometheus chromium fonts-dejavu-core"

case "${1:-}" in
build) want="$build" ;;
test) want="$build $test" ;;
conformance) want="$build $test $suites" ;;
soak) want="$build $test spin" ;;
cover) want="$build $test gcovr" ;;
format) want="clang-format-14" ;;
*) echo "usage: tools/deps.sh build|test|conformance|soak|cover|format" >&2; exit 2 ;;
esac

# Any node will do for the JavaScript client's tests; Debian's is taken only when there is none.
case "$1" in
test | conformance | soak | cover)
    command -v node >/dev/null || want="$want nodejs"
    command -v npm >/dev/null || want="$want npm"
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "deps: this is not Debian; have the equivalents of these yourself:" $want
    exit 0
fi

have=" $(dpkg-query -W -f='${db:Status-Status}/${Package} ' $want 2>/dev/null || true)"
missing=""
for p in $want; do
    case "$have" in *" installed/$p "*) ;; *) missing="$missing $p" ;; esac
done
[ -n "$missing" ] || exit 0

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "deps: these packages are missing and there is no sudo; as root, run:" >&2
        echo "  apt-get install$missing" >&2
        exit 1
    fi
}

# The tests start their own etcd; Debian's package would also start one as a service, on a port that
# may be wanted. Only when it is us who bring the package is its service held back.
etcd_hold() {
    [ ! -d /run/systemd/system ] || as_root systemctl mask --runtime --quiet etcd.service
}
etcd_release() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl unmask --runtime --quiet etcd.service
        as_root systemctl disable --quiet etcd.service || true
    elif [ -x /etc/init.d/etcd ]; then
        as_root /etc/init.d/etcd stop >/dev/null 2>&1 || true
        as_root update-rc.d etcd disable >/dev/null 2>&1 || true
    fi
    echo "deps: etcd is installed for the tests only; its service is left stopped and disabled"
}

echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
case "$missing" in *etcd-server*) etcd_hold ;; esac
install() {
    as_root apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $missing >"$log" 2>&1
}
log=$(mktemp)
if ! install; then
    echo "deps: refreshing apt's lists and trying again"
    if ! as_root apt-get update -qq >"$log" 2>&1 || ! install; then
        tail -15 "$log" >&2
        echo "deps: apt could not install the packages; see above, then run tools/deps.sh $1" >&2
        rm -f "$log"
        exit 1
    fi
fi
rm -f "$log"
case "$missing" in *etcd-server*) etcd_release ;; esac
