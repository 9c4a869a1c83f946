#!/usr/bin/env bash
# Cuts the device's power at every crash point of an upgrade, switches it on again, and sees the upgrade finish.
#
#   power_cut_test.sh OTA-DEVICE PRODUCT VERSION [OPTION...]
#
# Needs a running broker with an active plan that brings every device of PRODUCT to VERSION; OPTIONs go to
# ota-device (--port, --blocks, ...). Each point is tried with a new device, cut-RUN-N. STEP=K takes every
# K-th point only. Exit code 0 if every upgrade finished.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
program=$1 product=$2 version=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=$$

device() { # N [OPTION...]: one life of the device
  local n=$1
  shift
  "$program" --product "$product" --device "cut-$run-$n" --state "$work/$n" --exit-when "$version" \
    --timeout 60 --scale 0.2 "$@" >>"$work/$n.log" 2>&1
}

cuts=0
for ((n = 1; ; n += ${STEP:-1})); do
  rc=0
  device "$n" "$@" --crash-at "$n" || rc=$?
  [ $rc != 0 ] || break # it was through before the n-th point
  if [ $rc != 137 ] || ! device "$n" "$@"; then
    cat "$work/$n.log" >&2
    echo "power_cut_test: the upgrade with a power cut at point $n did not finish" >&2
    exit 1
  fi
  cuts=$((cuts + 1))
  rm -rf "${work:?}/$n"
done
[ $cuts -gt 0 ] || { cat "$work/$n.log" >&2; echo "power_cut_test: no crash point was passed" >&2; exit 1; }
echo "power_cut_test: $cuts power cuts, every upgrade finished"
