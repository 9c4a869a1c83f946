#!/usr/bin/env bash
# Puts the built plugin into an existing Mosquitto on Debian 12 or 13, or takes it away again.
#
#   scripts/install.sh [--build DIR] [--prefix DIR] [--destdir DIR]
#   scripts/install.sh --uninstall [--purge] [--prefix DIR] [--destdir DIR]
#
#     --build DIR     where it was built (build/)
#     --prefix DIR    where programs go (/usr/local)
#     --destdir DIR   stages everything below DIR instead of /, for packages and tests
#     --uninstall     removes what an installation put there; keeps the database and the packages
#     --purge         with --uninstall: removes the database, the packages and a changed configuration too
#
# Repeating it is harmless: what is right already is left alone. It never restarts the broker, and never changes
# a configuration that exists; it says what is left for you to do.
#
#   PREFIX/lib/mosquitto-ota/mosquitto_ota.so   Mosquitto loads it by its full path; /usr/lib belongs to dpkg
#   PREFIX/bin/otactl                           in everyone's PATH: who may do what, the database's mode decides
#   PREFIX/share/mosquitto-ota/                 the schema, to read; the annotated configuration
#   /etc/mosquitto/conf.d/ota.conf              written only if there is none
#   /etc/systemd/system/mosquitto.service.d/ota.conf   more open files than systemd's default of 1024
#   /var/lib/mosquitto/ota/ and packages/       the broker's; writable by members of the group mosquitto
set -euo pipefail
umask 022 # the broker must be able to read what root puts there
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build prefix=/usr/local destdir='' uninstall=0 purge=0

usage() { sed -n '2,22p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; }
die() {
  echo "install.sh: $*" >&2
  exit 1
}
wrong() {
  echo "install.sh: $* (see --help)" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
    --build | --prefix | --destdir)
      [ -n "${2:-}" ] || wrong "$1 needs a directory"
      printf -v "${1#--}" '%s' "$(realpath -m -- "$2")"
      shift 2
      ;;
    --uninstall) uninstall=1; shift ;;
    --purge) purge=1; shift ;;
    -h | --help) usage; exit 0 ;;
    *) wrong "unknown argument '$1'" ;;
  esac
done
[ $purge = 0 ] || [ $uninstall = 1 ] || wrong '--purge goes with --uninstall'
[ "$destdir" != / ] || destdir=''
[ -n "$destdir" ] || [ "$(id -u)" = 0 ] || die 'run it as root'

plugin=$prefix/lib/mosquitto-ota/mosquitto_ota.so
program=$prefix/bin/otactl
share=$prefix/share/mosquitto-ota
snippet=/etc/mosquitto/conf.d/ota.conf
dropin=/etc/systemd/system/mosquitto.service.d/ota.conf
data=/var/lib/mosquitto/ota

snippet_text() {
  cat <<SNIPPET
# The OTA plugin. Every option, with unit, default and consequence: $share/mosquitto.conf.example
plugin $plugin
plugin_opt_database $data/ota.db
plugin_opt_packages $data/packages

# Downloads over HTTP: where the plugin listens, and the address by which devices reach it. Without them files
# are delivered over MQTT only.
#plugin_opt_download_listen 0.0.0.0:8070
#plugin_opt_download_base http://BROKER:8070

# What decides about topics that are not OTA topics:
#   defer (the default)  an acl_file or the dynamic-security plugin; a broker with neither denies everything
#   allow                nothing: an open broker. Never beside an acl_file or dynamic security
#plugin_opt_acl_other allow
SNIPPET
}
dropin_text() {
  cat <<'DROPIN'
# Every client is an open file, and so is every download; systemd's default is 1024.
[Service]
LimitNOFILE=131072
DROPIN
}

changes=0
changed() {
  changes=$((changes + 1))
  echo "  $*"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# put SOURCE TARGET MODE: replaced by renaming, for a running broker has the old file mapped.
put() {
  local target=$destdir$2
  if cmp -s "$1" "$target" && [ "$(stat -c %a "$target")" = "$3" ]; then
    return
  fi
  mkdir -p "$(dirname "$target")"
  install -m "$3" "$1" "$target.new"
  mv -f "$target.new" "$target"
  changed "installed $2"
}
# own DIRECTORY MODE: for the broker's user and its group; new files get the group.
own() {
  local target=$destdir$1 what=''
  if [ ! -d "$target" ]; then
    mkdir -p "$target"
    what=made
  fi
  if [ "$(id -u)" = 0 ] && id mosquitto >/dev/null 2>&1 && [ "$(stat -c %U:%G "$target")" != mosquitto:mosquitto ]; then
    chown mosquitto:mosquitto "$target"
    what=${what:-'set the owner of'}
  fi
  if [ "$(stat -c %a "$target")" != "$2" ]; then
    chmod "$2" "$target"
    what=${what:-'set the mode of'}
  fi
  [ -z "$what" ] || changed "$what $1"
}
take() { # FILE
  if [ -e "$destdir$1" ]; then
    rm -f "$destdir$1"
    changed "removed $1"
  fi
}
take_empty() { # DIRECTORY
  if [ -d "$destdir$1" ] && rmdir "$destdir$1" 2>/dev/null; then
    changed "removed $1"
  fi
}
reload_systemd() {
  if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
  fi
}

if [ $uninstall = 1 ]; then
  snippet_text >"$work/snippet"
  if [ $purge = 1 ] || cmp -s "$work/snippet" "$destdir$snippet"; then
    take $snippet
  elif [ -e "$destdir$snippet" ]; then
    mv "$destdir$snippet" "$destdir$snippet.saved" # Mosquitto reads *.conf only
    changed "kept your changed configuration as $snippet.saved"
  fi
  if [ $purge = 1 ]; then
    take $snippet.saved
  fi
  if [ -e "$destdir$dropin" ]; then
    take $dropin
    reload_systemd
  fi
  take_empty "$(dirname $dropin)"
  take "$plugin"
  take "$program"
  if [ -d "$destdir$share" ]; then
    rm -rf "$destdir${share:?}"
    changed "removed $share"
  fi
  take_empty "$(dirname "$plugin")"
  if [ $purge = 1 ] && [ -d "$destdir$data" ]; then
    rm -rf "$destdir${data:?}"
    changed "removed $data"
  fi
  take_empty $data/packages
  take_empty $data
  [ $changes != 0 ] || echo 'install.sh: nothing to change'
  { grep -rlsE "^[[:space:]]*(auth_)?plugin[[:space:]]+$plugin" "$destdir/etc/mosquitto" --include='*.conf' || true; } | while read -r file; do
    echo "Remove the plugin's lines from ${file#"$destdir"}: the broker does not start with them."
  done
  [ ! -d "$destdir$data" ] || echo "The database and the packages are kept in $data; --purge removes them."
  [ $changes = 0 ] || [ -n "$destdir" ] || echo 'Restart the broker: systemctl restart mosquitto'
  exit 0
fi

for file in mosquitto_ota.so otactl; do
  [ -f "$build/$file" ] || die "$build/$file is missing; build first:
  scripts/packages.sh build
  cmake -G Ninja -S $top -B $build -DOTA_TESTS=OFF && cmake --build $build"
done
if [ -z "$destdir" ]; then
  id mosquitto >/dev/null 2>&1 || die 'there is no user mosquitto: install the package mosquitto first'
  [ -d /etc/mosquitto/conf.d ] || die 'there is no /etc/mosquitto/conf.d: install the package mosquitto first'
fi

echo "Installing from $build:"
# Without what only a debugger reads; the build directory keeps it.
for binary in mosquitto_ota.so otactl; do
  strip --strip-debug -o "$work/$binary" "$build/$binary"
done
put "$work/mosquitto_ota.so" "$plugin" 755
put "$work/otactl" "$program" 755
for file in "$top"/schema/*.sql; do
  put "$file" "$share/schema/$(basename "$file")" 644
done
if [ -f "$top/mosquitto.conf.example" ]; then
  put "$top/mosquitto.conf.example" "$share/mosquitto.conf.example" 644
fi
own $data 2770
own $data/packages 2770
if [ ! -e "$destdir$snippet" ]; then
  snippet_text >"$work/snippet"
  put "$work/snippet" $snippet 644
fi
dropin_text >"$work/dropin"
before=$changes
put "$work/dropin" $dropin 644
[ $changes = "$before" ] || reload_systemd

if [ $changes = 0 ]; then
  echo '  nothing to change'
fi
[ -z "$destdir" ] || exit 0

# What only the administrator can decide, and only as far as it is not done yet.
configured() { grep -rhsE "^[[:space:]]*$1" /etc/mosquitto/mosquitto.conf /etc/mosquitto/conf.d --include='*.conf' >/dev/null; }
echo 'What is left for you to do:'
configured 'plugin_opt_download_base' ||
  echo "  - Set plugin_opt_download_listen and plugin_opt_download_base in $snippet: the address is the one that
    devices use, so only you know it. Without them files are delivered over MQTT only."
if configured 'acl_file' || configured 'plugin .*dynamic_security'; then
  if configured 'plugin_opt_acl_other[[:space:]]+allow'; then
    echo '  - Remove plugin_opt_acl_other allow: with it your acl_file or dynamic security would be bypassed.'
  fi
  echo "  - An acl_file needs no lines for the OTA topics: the plugin is asked before it and decides about them."
  ! configured 'plugin .*dynamic_security' ||
    echo "  - Dynamic security: its plugin line must come after the OTA plugin's. Mosquitto asks plugins in the order of
    the configuration, and a role that allows # would otherwise open the OTA topics."
elif ! configured 'plugin_opt_acl_other'; then
  echo "  - Choose plugin_opt_acl_other in $snippet. Your configuration has neither an acl_file nor dynamic security:
    as it is, the broker would deny every topic that is not an OTA topic. allow keeps it as open as it was."
fi
configured 'set_tcp_nodelay[[:space:]]+true' ||
  echo '  - Recommended: set_tcp_nodelay true in /etc/mosquitto/mosquitto.conf. Without it answers may take 40 ms longer.'
! configured 'per_listener_settings[[:space:]]+true' ||
  echo '  - per_listener_settings true: Mosquitto 2.0.11 calls no plugin regularly then, and the OTA plugin refuses to
    serve; newer versions need the plugin lines in every listener that devices use.'
echo "  - Administrators who are not root: run otactl with sudo; the database can be written by root and mosquitto alone."
echo "  - Restart the broker: systemctl restart mosquitto. Then look: the broker's log (Debian: /var/log/mosquitto/mosquitto.log), sudo otactl status"
