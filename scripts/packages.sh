#!/bin/sh
# Installs the Debian packages that the project needs and this machine lacks. Debian 12, 13 and sid.
#
#   scripts/packages.sh SET...
#     build   what builds the plugin, otactl and the example device, and what runs them
#     test    build, and what the tests need
#     check   test, and what the checks of format, style and layers need
#
# Needs root only if something is missing: run it as root, or with sudo at hand. When nothing is missing
# it touches neither the network nor the system. Debian's mosquitto package starts a broker of its own on a
# machine that runs services; the project's scripts do not use it and do not mind it.
set -eu

build='cmake g++ ninja-build pkgconf mosquitto mosquitto-dev libmosquitto-dev libsqlite3-dev libsqlitecpp-dev
  rapidjson-dev libssl-dev libcurl4-openssl-dev libmicrohttpd-dev libhowardhinnant-date-dev libexpected-dev
  libcli11-dev libcjson-dev sqlite3 tzdata'
test='libgtest-dev libgmock-dev libbenchmark-dev mosquitto-clients openssl python3 python3-pytest faketime curl procps'
check='clang clang-format clang-tidy shellcheck'

usage() { sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//'; }

wanted=''
[ $# -gt 0 ] || { usage >&2; exit 2; }
for set in "$@"; do
  case $set in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $build $test" ;;
    check) wanted="$wanted $build $test $check" ;;
    -h | --help) usage; exit 0 ;;
    *) echo "packages.sh: unknown set '$set': build, test or check" >&2; exit 2 ;;
  esac
done

command -v dpkg-query >/dev/null || {
  echo "packages.sh: this is no Debian system; install yourself:$(echo "$wanted" | tr -s ' \n' ' ')" >&2
  exit 1
}
missing=''
for package in $wanted; do
  case " $missing " in *" $package "*) continue ;; esac
  # A virtual package or a newer name may provide it: what counts is that a package of this name is installed.
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=''
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "packages.sh: missing:$missing; install them as root, or run this as root" >&2; exit 1; }
  as_root=sudo
fi

echo "packages.sh: installing$missing"
install_missing() {
  # shellcheck disable=SC2086 # words on purpose
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists may be absent or so old that files are gone: then they are fetched once, and only then.
if ! install_missing >"$log" 2>&1; then
  { $as_root apt-get update -q && install_missing; } >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    echo "packages.sh: apt-get could not install:$missing" >&2
    exit 1
  }
fi
