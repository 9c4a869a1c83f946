#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests; ends with the test runner's closing line.
#
#   scripts/test.sh [--all] [--build DIR] [CTEST ARGUMENT...]
#     --all    also what takes longer: sanitizers, clang-tidy, fuzzers, long fault and load tests
#     --build  the build directory (default: build/tests of the project; not that of what is installed)
#   scripts/test.sh -L core        only the unit tests of plugin/core
#   scripts/test.sh -R broker_     only the tests with a real broker
#
# As root or as a user who may use sudo, if something is missing. Ports are free ones on loopback; nothing
# outside the build directory and /tmp is written.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build/tests all=0
while [ $# -gt 0 ]; do
  case $1 in
    --all) all=1; shift ;;
    --build) build=$(realpath -m "$2"); shift 2 ;;
    -h | --help) sed -n '2,11p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) break ;;
  esac
done
jobs=$(nproc)
if [ "$all" = 1 ]; then
  "$top/scripts/packages.sh" build test check
else
  "$top/scripts/packages.sh" build test
fi
launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_C_COMPILER_LAUNCHER=ccache)
fi
say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }
say "building in $build"
# Without optimization: it takes half as long to build, and what is built checks more. `--all` also tests what ships.
if [ "$all" = 1 ]; then
  how=(-DCMAKE_BUILD_TYPE=RelWithDebInfo)
else
  how=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DCMAKE_C_FLAGS_DEBUG=-O0)
fi
cmake -G Ninja -S "$top" -B "$build" "${launcher[@]}" "${how[@]}" -DOTA_TESTS=ON >/dev/null
cmake --build "$build" -j "$jobs" -- --quiet
if [ "$all" = 1 ]; then
  "$top/scripts/check.sh" --all
  export OTA_LONG=1 # not under the sanitizers, where it would take many hours
fi
say "testing"
[ "$jobs" -ge 2 ] || jobs=2
# Most tests wait most of the time: for devices that settle, deadlines, the other side. Not so the long forms.
if [ "$all" = 1 ]; then
  how=(-j "$jobs" --timeout 7200)
else
  how=(-j "$((jobs * 3))" --timeout 900)
fi
exec ctest --test-dir "$build" --output-on-failure --no-tests=error "${how[@]}" "$@"
