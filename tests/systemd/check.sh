#!/usr/bin/env bash
# The part of run.sh that runs inside the machine, as root, once: it installs, upgrades devices, reloads, restores and
# uninstalls, with the commands of README.md. Prints what they say, for people to read too.
set -euo pipefail
cd /src
log=/var/log/mosquitto/mosquitto.log conf=/etc/mosquitto/conf.d/ota.conf data=/var/lib/mosquitto/ota
checks=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  "$@" || {
    echo "check.sh: failed: $what"
    systemctl status mosquitto --no-pager -l || true
    tail -n 30 $log
    exit 1
  }
  echo "ok: $what"
  checks=$((checks + 1))
}
has() { grep -qF -- "$1" <<<"$2"; }
lacks() { ! has "$@"; }
fails() { ! "$@"; }
eventually() { # COMMAND...: the emulated machine is slow
  local n
  for n in {1..600}; do
    if "$@" >/dev/null 2>&1; then
      return 0
    fi
    sleep 0.1
  done
  echo "not within $((n / 10)) s: $*"
  return 1
}
# The command of the README's SECTION that begins with BEGIN, as it stands there.
readme() { # SECTION BEGIN
  local line
  line=$(sed -n "/^## $1/,/^## /s/^    //p" README.md | grep -m 1 "^$2") || { echo "README.md, $1: no command $2" >&2; return 1; }
  echo "# $line" >&2
  bash -c "$line"
}
pid() { systemctl show -P MainPID mosquitto; }
limit() { awk '/open files/ {print $4}' "/proc/$(pid)/limits"; }
open_database() { [ "$(sqlite3 -readonly $data/ota.db "SELECT pid FROM engine_health")" = "$(pid)" ]; }
passes() { # an ordinary message, from one client to another
  local got
  got=$(mosquitto_rr -t line/1 -e line/1 -m hello -W 20) && [ "$got" = hello ]
}
device() { # NAME VERSION [OPTION...]
  build/ota-device --product pump --device "$1" --state "/tmp/$1" --component main=1.0.0 --battery 83 --exit-when "$2" \
    --timeout 120 "${@:3}"
}
picture() { find /etc/mosquitto /etc/systemd/system /usr/local /var/lib/mosquitto ! -name mosquitto.db -printf '%p %M %u:%g\n' | sort; }

systemctl is-system-running --wait >/dev/null || true
echo "$(. /etc/os-release && echo "$PRETTY_NAME"), $(systemctl --version | head -n 1), $(mosquitto -h | head -n 1)"
check 'systemd is process 1' [ "$(cat /proc/1/comm)" = systemd ]
check "Debian's service runs" systemctl is-active -q mosquitto
check 'before: 1024 open files' [ "$(limit)" = 1024 ]
check 'before: the broker serves' passes
before=$(picture)

echo '== installing'
said=$(readme 'Install into' 'sudo scripts/install.sh')
echo "$said"
check 'it says to restart the broker' has 'systemctl restart mosquitto' "$said"
check 'it says that access is to be chosen' has 'Choose plugin_opt_acl_other' "$said"
check 'it says that TCP should not wait' has 'set_tcp_nodelay true' "$said"
check 'it restarts nothing itself' [ "$(limit)" = 1024 ]
said=$(scripts/install.sh)
check 'a second time it changes nothing' has 'nothing to change' "$said"
readme 'Install into' 'sudo systemctl restart mosquitto'
eventually open_database
readme 'Install into' 'sudo otactl status'
check 'the drop-in holds for the service' [ "$(systemctl show -P LimitNOFILE mosquitto)" = 131072 ]
check 'and for the process' [ "$(limit)" = 131072 ]
check "the broker is the user mosquitto's" [ "$(stat -c %U "/proc/$(pid)")" = mosquitto ]
check 'so is the database' [ "$(stat -c '%U:%G %a' $data/ota.db)" = 'mosquitto:mosquitto 640' ]
check 'with access left undecided, others are denied' fails passes
check 'the log says why' grep -q 'plugin_opt_acl_other' $log

echo '== what was left to do'
sed -i 's/^#\(plugin_opt_acl_other\)/\1/; s/^#\(plugin_opt_download_listen\)/\1/; s|^#\(plugin_opt_download_base\).*|\1 http://127.0.0.1:8070|' $conf
sed -i '1i set_tcp_nodelay true' /etc/mosquitto/mosquitto.conf
said=$(scripts/install.sh)
echo "$said"
check 'a changed configuration is left alone' has 'nothing to change' "$said"
for done in plugin_opt_acl_other plugin_opt_download_base set_tcp_nodelay; do
  check "$done is not asked for any more" lacks $done "$said"
done
echo 'acl_file /etc/mosquitto/acl' >/etc/mosquitto/conf.d/zz.conf
said=$(scripts/install.sh)
check 'beside an acl_file, allow is warned of' has 'Remove plugin_opt_acl_other allow' "$said"
check 'and it is said that the file can stay as it is' has 'An acl_file needs no lines for the OTA topics' "$said"
echo 'plugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so' >/etc/mosquitto/conf.d/zz.conf
said=$(scripts/install.sh)
check 'beside dynamic security, the order is told' has 'its plugin line must come after' "$said"
rm /etc/mosquitto/conf.d/zz.conf
systemctl restart mosquitto
eventually open_database
check 'ordinary messages pass' passes

echo '== an upgrade'
printf 'pump firmware 1.1.0' >/tmp/pump.bin
otactl import examples/quickstart/1_product.sql
otactl package add pump main 1.1.0 /tmp/pump.bin --wait
otactl import examples/quickstart/2_plan.sql
check 'a device upgrades itself over HTTP' device pump-1 1.1.0
check 'and another over MQTT' device pump-2 1.1.0 --blocks
check 'the view says so' [ "$(sqlite3 -readonly $data/ota.db "SELECT count(*) FROM tasks WHERE state = 'succeeded'")" = 2 ]

echo '== administrators'
useradd -m reader
useradd -m stranger
usermod -aG mosquitto reader
check 'a member of the group may look' runuser -u reader -- otactl status
said=$(runuser -u reader -- otactl import examples/quickstart/1_product.sql 2>&1 || echo "rc $?")
check 'but not write' has 'run this as root, or as the user that owns the database' "$said"
check 'others may not even look' fails runuser -u stranger -- otactl status
check 'the broker can write what root has written' sudo -u mosquitto otactl import examples/quickstart/1_product.sql

echo '== reload, crash, stop'
process=$(pid)
systemctl reload mosquitto
eventually grep -q 'Reloading config' $log
check 'SIGHUP keeps the process' [ "$(pid)" = "$process" ]
check 'and the service' device pump-3 1.1.0
kill -KILL "$process"
eventually open_database
check 'systemd starts it again after a crash' [ "$(pid)" != "$process" ]
check 'the plan goes on' device pump-4 1.1.0
build/ota-device --product pump --device pump-5 --state /tmp/pump-5 --component main=1.1.0 >/dev/null 2>&1 &
eventually grep -q pump-5 $log
started=$(date +%s%N)
systemctl stop mosquitto
took=$((($(date +%s%N) - started) / 1000000))
check "it stops within 5 s (took $took ms)" [ $took -lt 5000 ]
check 'and in peace' [ "$(systemctl show -P Result mosquitto)" = success ]
kill $!
sed -i 's/^plugin_opt_database/plugin_opt_databse/' $conf
check 'a mistake in the options stops the broker' fails systemctl start mosquitto
check 'with a line that names it' grep -q "ota: .*databse" $log
sed -i 's/^plugin_opt_databse/plugin_opt_database/' $conf
systemctl reset-failed mosquitto
systemctl start mosquitto
eventually open_database

echo '== backup and restore'
readme 'Backup and restore' 'sudo otactl backup'
readme 'Backup and restore' 'sudo systemctl stop'
readme 'Backup and restore' 'sudo otactl restore'
readme 'Backup and restore' 'sudo systemctl start'
eventually open_database
readme 'Backup and restore' 'sudo otactl status' || true
check 'the restored database is the broker'\''s' [ "$(stat -c '%U:%G %a' $data/ota.db)" = 'mosquitto:mosquitto 640' ]
check 'every plan is held' fails device pump-6 1.1.0 --timeout 10
readme 'Backup and restore' 'sudo otactl release'
check 'until it is released' device pump-6 1.1.0

echo '== what the logs say'
grep 'ota: ' $log
check "systemd's log has no warnings of the service" [ -z "$(journalctl -q -u mosquitto -p warning --no-pager -o cat | grep -v 'status=\|code=\|SIGKILL\|Failed' || true)" ]

echo '== uninstalling'
said=$(scripts/install.sh --uninstall)
echo "$said"
check 'it says that the database stays' has "kept in $data" "$said"
check 'it says to restart' has 'systemctl restart mosquitto' "$said"
systemctl restart mosquitto
check 'after: 1024 open files' [ "$(limit)" = 1024 ]
check 'after: the broker serves' passes
check 'the changed configuration is kept' [ -e $conf.saved ]
check 'the database is kept' [ -s $data/ota.db ]
scripts/install.sh --uninstall --purge
check 'after --purge nothing is left' diff <(echo "$before") <(picture)
check 'the broker restarts without it' systemctl restart mosquitto
echo "systemd: $checks checks passed"
