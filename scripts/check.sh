#!/usr/bin/env bash
# The project's own checks, one after another; each says what is wrong and where. Ends with 0 when all pass.
#
#   scripts/check.sh [--build DIR] [--base REV | --all] [CHECK...]
#     format   clang-format (version 14, so that one formatting holds; skipped with another)
#     layers   include arrows, one place for each third-party library, no clock in core, symbols of libota_core.a
#     trace    clauses of the native dialect and the checklist name tests that exist
#     scripts  shellcheck, if it is installed
#     tidy     clang-tidy on the files that differ from REV (default: main), with --all on all
#     asan     all unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
#     tsan     the concurrent unit tests (engine, package) under ThreadSanitizer
#     broker   the broker tests with the plugin under AddressSanitizer (needs --all or the name)
#     fleet    the fleet and the soak on a broker whose plugin is under ThreadSanitizer (the same)
#     fuzz     each fuzz target for a minute, with --all for ten (clang; the same)
#   Without a name: format layers trace scripts tidy asan tsan; with --all everything.
# Exit 77: the one check that was asked for cannot be made here (CTest shows it as skipped).
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
build=$top/build base=main all=0
while [ $# -gt 0 ]; do
  case $1 in
    --build) build=$(realpath -m "$2"); shift 2 ;;
    --base) base=$2; shift 2 ;;
    --all) all=1; shift ;;
    -h | --help) sed -n '2,18p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) break ;;
  esac
done
checks=("$@")
if [ ${#checks[@]} = 0 ]; then
  checks=(format layers trace scripts tidy asan tsan)
  [ "$all" = 0 ] || checks+=(broker fleet fuzz)
fi
jobs=$(nproc)
sources() { find plugin tests examples -name '*.cc' -o -name '*.h' -o -name '*.c'; }

# configure DIR OPTION...: a build directory of its own, without what the check does not need.
configure() {
  local dir=$1
  shift
  local launcher=()
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_C_COMPILER_LAUNCHER=ccache); fi
  cmake -G Ninja -S "$top" -B "$dir" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DOTA_WERROR=ON "${launcher[@]}" "$@" >/dev/null
}

# unit DIR LABELS: builds and runs the unit tests with one of these labels.
unit() {
  local targets
  targets=$(ninja -C "$1" -t targets all | sed -nE "s/^(($2)_test): .*/\1/p")
  # shellcheck disable=SC2086 # words on purpose
  ninja -C "$1" -j "$jobs" --quiet $targets
  ctest --test-dir "$1" --output-on-failure --no-tests=error -L "^($2)$"
}

check_format() {
  command -v clang-format >/dev/null || return 77
  case $(clang-format --version) in *'version 14.'*) ;; *) return 77 ;; esac
  sources | xargs clang-format --dry-run --Werror
}

check_layers() { python3 scripts/check_layers.py "$build"; }

check_trace() { python3 scripts/check_trace.py; }

check_scripts() {
  command -v shellcheck >/dev/null || return 77
  shellcheck -S warning scripts/*.sh tests/*/*.sh .ci/run
}

check_tidy() {
  command -v clang-tidy >/dev/null || return 77
  local files
  if [ "$all" = 1 ] || ! git rev-parse -q --verify "$base" >/dev/null; then
    files=$(find plugin -name '*.cc')
  else
    files=$(git diff --name-only --diff-filter=d "$(git merge-base "$base" HEAD)" -- 'plugin/*.cc')
  fi
  [ -n "$files" ] || return 0
  configure "$top/build-tidy" -DCMAKE_CXX_COMPILER=clang++ -DOTA_TESTS=OFF
  ninja -C "$top/build-tidy" --quiet schema_header
  # shellcheck disable=SC2086 # words on purpose
  printf '%s\n' $files | xargs -n 1 -P "$jobs" clang-tidy -p "$top/build-tidy" --quiet 2>/dev/null
}

check_asan() {
  configure "$top/build-asan" -DOTA_SANITIZE=address,undefined
  UBSAN_OPTIONS=print_stacktrace=1 unit "$top/build-asan" 'core|crypto|dialect|store|package|guard|engine'
}

# under_tsan COMMAND...: a kernel that spreads its mappings more widely than the sanitizer of this compiler knows needs
# a fixed layout.
under_tsan() {
  local fixed=()
  if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi
  TSAN_OPTIONS="halt_on_error=1 suppressions=$top/tests/tsan.supp" "${fixed[@]}" "$@"
}

check_tsan() {
  configure "$top/build-tsan" -DOTA_SANITIZE=thread
  under_tsan "${BASH_SOURCE[0]}" --unit "$top/build-tsan" 'package|engine'
}

check_fleet() {
  configure "$top/build-tsan" -DOTA_SANITIZE=thread
  ninja -C "$top/build-tsan" -j "$jobs" --quiet mosquitto_ota otactl ota-fleet
  # A library that a suppression names must not be unloaded.
  OTA_PRELOAD="$(g++ -print-file-name=libtsan.so):libmicrohttpd.so.12:libcurl.so.4" \
    under_tsan ctest --test-dir "$top/build-tsan" --output-on-failure --no-tests=error -R '^broker_(fleet|soak)$'
}

check_broker() {
  configure "$top/build-asan" -DOTA_SANITIZE=address,undefined
  ninja -C "$top/build-asan" -j "$jobs" --quiet mosquitto_ota mosquitto_ota_faults otactl ota-fleet ota-device
  # Leaks are Mosquitto's own at its end; the unit tests look for ours.
  OTA_PRELOAD="$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0 ctest --test-dir "$top/build-asan" --output-on-failure -L broker -E broker_load -j "$jobs"
}

check_fuzz() {
  command -v clang++ >/dev/null || return 77
  [ -d tests/fuzz ] || return 77
  configure "$top/build-fuzz" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang -DOTA_FUZZ=ON -DOTA_TESTS=OFF -DOTA_SANITIZE=address,undefined
  local targets target
  targets=$(ninja -C "$top/build-fuzz" -t targets all | sed -nE '/^cmake_/d; s/^([a-z_]*_fuzz): .*/\1/p')
  [ -n "$targets" ] || { echo "no fuzz targets"; return 1; }
  # shellcheck disable=SC2086 # words on purpose
  ninja -C "$top/build-fuzz" -j "$jobs" --quiet $targets
  local seconds=60
  [ "$all" = 0 ] || seconds=600
  for target in $targets; do
    mkdir -p "$top/build-fuzz/corpus/$target"
  done
  # New inputs go into the first directory, the second has the seeds.
  # shellcheck disable=SC2086,SC2016 # words on purpose; the inner shell's variables
  printf '%s\n' $targets | xargs -P "$jobs" -I{} sh -c \
    'exec "$1/$2" "-max_total_time=$3" -timeout=10 -rss_limit_mb=1500 "$1/corpus/$2" "tests/fuzz/corpus/${2%_fuzz}"' \
    fuzz "$top/build-fuzz" {} "$seconds"
}

# check.sh calls itself so that setarch reaches the tests.
if [ "${checks[0]}" = --unit ]; then
  unit "${checks[1]}" "${checks[2]}"
  exit
fi

failed=()
for check in "${checks[@]}"; do
  declare -F "check_$check" >/dev/null || { echo "check.sh: unknown check '$check'; see --help" >&2; exit 2; }
  # Not behind `||`: there bash goes on after a command that fails.
  set +e
  ( set -e; "check_$check" )
  status=$?
  set -e
  case $status in
    0) echo "check.sh: $check ok" ;;
    77) echo "check.sh: $check skipped: its tool is missing or of another version"
      [ ${#checks[@]} -gt 1 ] || exit 77 ;;
    *) echo "check.sh: $check FAILED"; failed+=("$check") ;;
  esac
done
[ ${#failed[@]} = 0 ] || { echo "check.sh: failed: ${failed[*]}" >&2; exit 1; }
