#!/usr/bin/env bash
# Installs into a staged tree twice, takes everything away again, and compares the trees.
#
#   install_test.sh BUILD     the directory with mosquitto_ota.so and otactl
#
# Runs as root or as any user; without root, owners are not checked.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ $# = 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
build=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
tree=$root/tree
mkdir -p "$tree"/usr/local/{bin,lib,share} "$tree"/etc/mosquitto/conf.d "$tree"/etc/systemd/system "$tree"/var/lib/mosquitto

install() { "$top/scripts/install.sh" --build "$build" --destdir "$tree" "$@"; }
# What is there: names, modes, owners and contents.
picture() { (cd "$tree" && find . -printf '%p %M %u:%g\n' | sort && find . -type f -exec sha256sum {} + | sort); }
checks=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  "$@" || { echo "install_test: failed: $what" >&2; exit 1; }
  checks=$((checks + 1))
}
has() { grep -qF -- "$1" <<<"$2"; }
mode_is() { [ "$(stat -c %a "$tree$1")" = "$2" ]; }
refuses() { local rc=0; "$@" >/dev/null 2>&1 || rc=$?; [ $rc = 2 ]; }

empty=$(picture)
said=$(install)
check 'it says what it changed' has 'installed /usr/local/lib/mosquitto-ota/mosquitto_ota.so' "$said"
strip --strip-debug -o "$root/built.so" "$build/mosquitto_ota.so"
check 'the plugin is the built one' cmp -s "$root/built.so" "$tree/usr/local/lib/mosquitto-ota/mosquitto_ota.so"
check 'otactl runs' "$tree/usr/local/bin/otactl" --help >/dev/null
check 'the schema is there' cmp -s "$top/schema/0001_tables.sql" "$tree/usr/local/share/mosquitto-ota/schema/0001_tables.sql"
check 'the configuration names the plugin' grep -q '^plugin /usr/local/lib/mosquitto-ota/mosquitto_ota.so$' "$tree/etc/mosquitto/conf.d/ota.conf"
check 'acl_other is left to the administrator' refuses bash -c "grep -q '^plugin_opt_acl_other' '$tree/etc/mosquitto/conf.d/ota.conf' || exit 2"
check 'the limit is there' grep -q '^LimitNOFILE=' "$tree/etc/systemd/system/mosquitto.service.d/ota.conf"
check 'the data are closed to others' mode_is /var/lib/mosquitto/ota 2770
check 'packages can be written by the group' mode_is /var/lib/mosquitto/ota/packages 2770
if [ "$(id -u)" = 0 ] && id mosquitto >/dev/null 2>&1; then
  check 'the data are the broker'\''s' [ "$(stat -c %U:%G "$tree/var/lib/mosquitto/ota/packages")" = mosquitto:mosquitto ]
fi

first=$(picture)
said=$(install)
check 'a second run says that nothing is to be changed' has 'nothing to change' "$said"
check 'a second run changes nothing' [ "$(picture)" = "$first" ]

said=$(install --uninstall)
check 'uninstalling leaves nothing' [ "$(picture)" = "$empty" ]
said=$(install --uninstall)
check 'uninstalling twice is harmless' has 'nothing to change' "$said"

install >/dev/null
echo '# mine' >>"$tree/etc/mosquitto/conf.d/ota.conf"
echo rows >"$tree/var/lib/mosquitto/ota/ota.db"
said=$(install)
check 'a changed configuration is left alone' has 'nothing to change' "$said"
install --uninstall >/dev/null
check 'no configuration that Mosquitto reads is left' [ ! -e "$tree/etc/mosquitto/conf.d/ota.conf" ]
check 'a changed configuration is kept' grep -q '^# mine$' "$tree/etc/mosquitto/conf.d/ota.conf.saved"
check 'the database is kept' grep -q rows "$tree/var/lib/mosquitto/ota/ota.db"
install --uninstall --purge >/dev/null
check 'purging leaves nothing' [ "$(picture)" = "$empty" ]

echo 'plugin /usr/local/lib/mosquitto-ota/mosquitto_ota.so' >"$tree/etc/mosquitto/mosquitto.conf"
said=$(install --uninstall)
check 'lines that would stop the broker are named' has "plugin's lines from /etc/mosquitto/mosquitto.conf:" "$said"
rm "$tree/etc/mosquitto/mosquitto.conf"
said=$(install --uninstall)
check 'and nothing else' bash -c '! grep -q lines' <<<"$said"

install --prefix /opt/ota >/dev/null
check 'another prefix is written into the configuration' grep -q '^plugin /opt/ota/lib/mosquitto-ota/mosquitto_ota.so$' "$tree/etc/mosquitto/conf.d/ota.conf"

check 'an unknown argument is refused' refuses install --frobnicate
check '--purge alone is refused' refuses install --purge
check 'a missing directory is refused' refuses install --prefix
echo "install_test: $checks checks passed"
