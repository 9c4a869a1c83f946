#!/usr/bin/env bash
# Upgrades an example device through a real broker on this machine, and shows what happens.
#
#   scripts/quickstart.sh [--keep]
#     --keep   leave the broker running afterwards, and say what to try with it
#
# Installs the Debian packages that are missing (needs root or sudo only then), builds, starts Mosquitto with the
# plugin on free ports of 127.0.0.1 with a new database in a directory of its own under ${TMPDIR:-/tmp}, imports
# a product, a package and a plan (examples/quickstart), and runs the example device (examples/device) until it
# has upgraded itself. Ends all that it started and removes the directory, but with --keep. Exit code 0: upgraded.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build/quickstart
example=$top/examples/quickstart
keep=0
for argument in "$@"; do
  case $argument in
    --keep) keep=1 ;;
    -h | --help) sed -n '2,11p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) echo "quickstart.sh: unknown argument '$argument' (see --help)" >&2; exit 2 ;;
  esac
done
PATH=$PATH:/usr/local/sbin:/usr/sbin # mosquitto is there, which a user's PATH may lack

if [ -t 1 ]; then
  bold=$'\e[1m' blue=$'\e[34m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' blue='' green='' red='' plain=''
fi
step() { printf '%s== %s%s\n' "$bold" "$*" "$plain"; }
die() {
  printf '%squickstart.sh: %s%s\n' "$red" "$*" "$plain" >&2
  exit 1
}
prefix() { sed -u "s/^/$1$2 | $plain/"; }

dir='' broker='' shown='' kept=0
clean_up() {
  local rc=$?
  trap - EXIT
  if [ $kept = 0 ] && [ -n "$broker" ] && kill "$broker" 2>/dev/null; then
    wait "$broker" 2>/dev/null || true
  fi
  if [ -n "$shown" ]; then
    sleep 0.3 # its last lines
    kill "$shown" 2>/dev/null || true
    wait "$shown" 2>/dev/null || true
  fi
  if [ -n "$dir" ] && [ $kept = 0 ]; then
    if [ $rc != 0 ] && [ -s "$dir/broker.log" ]; then
      echo "The end of the broker's log:" >&2
      tail -n 20 "$dir/broker.log" >&2
    fi
    rm -rf "$dir"
  fi
  exit $rc
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step 'Installing what is missing'
"$top/scripts/packages.sh" build

step 'Building the plugin, otactl and the example device'
mkdir -p "$build"
[ -w "$build" ] || die "$build cannot be written"
launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_C_COMPILER_LAUNCHER=ccache)
fi
{ cmake -G Ninja -S "$top" -B "$build" -DOTA_TESTS=OFF "${launcher[@]}" &&
  cmake --build "$build" --target mosquitto_ota otactl ota-device; } >"$build/build.log" 2>&1 || {
  tail -n 40 "$build/build.log" >&2
  die "the build failed (all of it: $build/build.log)"
}

# Mosquitto that is started by root becomes the user mosquitto before it loads the plugin, and that user cannot
# read, say, /root. So the plugin is copied, and the directory is the broker's.
dir=$(mktemp -d "${TMPDIR:-/tmp}/mosquitto-ota.XXXXXX")
mkdir -p "$dir/ota/packages" "$dir/device"
cp "$build/mosquitto_ota.so" "$dir/"
chmod 755 "$dir" "$dir/mosquitto_ota.so"
if [ "$(id -u)" = 0 ]; then
  chown mosquitto: "$dir" "$dir/ota" "$dir/ota/packages"
fi
db=$dir/ota/ota.db
otactl() { "$build/otactl" --database "$db" --packages "$dir/ota/packages" "$@"; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { # NOT: a port that is not it
  local port
  for _ in {1..200}; do
    port=$((20000 + RANDOM % 12000))
    if [ "$port" != "$1" ] && ! listens "$port"; then
      echo "$port"
      return
    fi
  done
  return 1
}
mqtt=$(free_port 0) || die 'no free port'
http=$(free_port "$mqtt") || die 'no free port'

step "Starting Mosquitto with the plugin: MQTT on 127.0.0.1:$mqtt, downloads on 127.0.0.1:$http"
sed "s|@DIR@|$dir|; s|@MQTT@|$mqtt|; s|@HTTP@|$http|" "$example/mosquitto.conf" >"$dir/mosquitto.conf"
setsid mosquitto -c "$dir/mosquitto.conf" >"$dir/broker.out" 2>&1 &
broker=$!
ready() { listens "$mqtt" && otactl plan list >/dev/null 2>&1; }
for _ in {1..100}; do
  kill -0 "$broker" 2>/dev/null || { cat "$dir/broker.out" >&2; die 'the broker ended at once'; }
  if ready; then
    break
  fi
  sleep 0.1
done
ready || die 'the broker did not make its database within 10 s'
tail -n +1 -F --pid="$broker" "$dir/broker.log" 2>/dev/null > >(grep --line-buffered 'ota: ' | prefix "$blue" 'broker') &
shown=$!

step 'Importing a product, adding a package, importing a plan'
firmware=$dir/pump-1.1.0.bin
{ echo 'pump firmware 1.1.0' && head -c 300000 /dev/urandom; } >"$firmware"
{ otactl import "$example/1_product.sql" &&
  otactl package add pump main 1.1.0 "$firmware" --wait &&
  otactl import "$example/2_plan.sql"; } || die 'otactl failed'

step 'Running the example device: version 1.0.0, and what the plan makes of it'
device() { # NAME [OPTION...]
  local name=$1
  shift
  "$build/ota-device" --product pump --device "$name" --state "$dir/device/$name" --component main=1.0.0 \
    --port "$mqtt" --battery 83 "$@"
}
device pump-1 --exit-when 1.1.0 --timeout 60 2>&1 | prefix "$green" 'device' || die 'the device did not reach 1.1.0'
cmp -s "$firmware" "$dir/device/pump-1/main.b/0" || die 'the firmware in the device differs from the one in the package'
sleep 0.5 # the broker's last lines

step 'What the views say'
table() { otactl sql -table "$1" && echo; }
table 'SELECT plan, wanted, state, devices, updated, failed FROM plans' || die 'otactl failed'
table 'SELECT device, versions, battery, last_seen FROM devices' || die 'otactl failed'
table 'SELECT plan, device, shown, state, reason_text, since FROM plan_devices' || die 'otactl failed'
[ "$(otactl sql "SELECT state FROM tasks WHERE device = 'pump-1'" | grep -c succeeded)" = 1 ] ||
  die 'the plan does not say that the device is upgraded'

step 'Done: pump-1 runs 1.1.0'
if [ $keep = 0 ]; then
  echo "To keep the broker running and try more: scripts/quickstart.sh --keep"
  exit 0
fi
kept=1
cat <<NEXT

The broker (process $broker) runs on. Copy these lines to try more:

  alias otactl='$build/otactl --database $db --packages $dir/ota/packages'
  alias pump='$build/ota-device --product pump --port $mqtt --component main=1.0.0'

  otactl status                                          # is all well?
  pump --device pump-2 --state $dir/device/pump-2 --blocks --exit-when 1.1.0     # a device that fetches over MQTT
  pump --device pump-3 --state $dir/device/pump-3 --refuse --timeout 5           # one that refuses
  pump --device pump-4 --state $dir/device/pump-4 --roll-back --timeout 20       # one whose new firmware is bad
  otactl plan show spring --devices                      # where they are, and why
  otactl device show pump/pump-1                         # one device, and what happened to it

  echo 'pump firmware 1.2.0' > $dir/pump-1.2.0.bin          # the next version, for pump-1 alone
  otactl package add pump main 1.2.0 $dir/pump-1.2.0.bin --wait
  otactl import $example/3_next_plan.sql
  pump --device pump-1 --state $dir/device/pump-1 --exit-when 1.2.0

  tail -f $dir/broker.log                                # what the broker does
  kill $broker; rm -rf $dir                              # the end
NEXT
