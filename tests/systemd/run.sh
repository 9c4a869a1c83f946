#!/usr/bin/env bash
# Installs the plugin on a freshly made Debian system that systemd runs, in a virtual machine, and looks at it as its
# administrator would.
#
#   tests/systemd/run.sh [--suite SUITE] [--build DIR] [--mirror URL]
#     --suite SUITE   bookworm (Debian 12, the default) or trixie (Debian 13)
#     --build DIR     copy mosquitto_ota.so, otactl and ota-device from there instead of building; made on that suite
#     --mirror URL    where the packages come from (http://deb.debian.org/debian)
#
# As root, with the packages debootstrap, e2fsprogs and qemu-system-x86. Needs 4 GB below ${TMPDIR:-/var/tmp}, which it
# removes at its end; no KVM: emulated, the machine takes some minutes. The tested commit is HEAD. The commands are those
# of README.md, as they stand there: what does not begin with `sudo` runs in the machine's tree before it is booted,
# `check.sh` runs the rest in it. Ends with `systemd: N checks passed`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
suite=bookworm build='' mirror=http://deb.debian.org/debian
while [ $# -gt 0 ]; do
  case $1 in
    --suite) suite=$2; shift 2 ;;
    --build) build=$(realpath "$2"); shift 2 ;;
    --mirror) mirror=$2; shift 2 ;;
    *) sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2 ;;
  esac
done
[ "$(id -u)" = 0 ] || { echo 'run.sh: run it as root' >&2; exit 2; }

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
tree=$work/tree
clean_up() {
  umount -l "$tree/proc" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT
say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }
inside() {
  chroot "$tree" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive sh -ec "cd /src; $1"
}

say "making a system of $suite"
# The broker comes in when systemd is there already, as on a machine: its package then enables the service.
debootstrap --variant=minbase --include=systemd-sysv,udev,sudo,procps,initramfs-tools,linux-image-cloud-amd64 \
  "$suite" "$tree" "$mirror" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
mount -t proc proc "$tree/proc"
git clone -q "$top" "$tree/src"
rm -rf "$tree/src/build"
commands=$(sed -n '/^## Install into an existing broker/,/^## /s/^    //p' "$top/README.md" | grep -v '^sudo')
if [ -n "$build" ]; then
  mkdir "$tree/src/build"
  cp "$build"/{mosquitto_ota.so,otactl,ota-device} "$tree/src/build/"
  commands=$(grep packages.sh <<<"$commands")
fi
say "running: $commands"
{ inside 'apt-get install -y -q --no-install-recommends mosquitto mosquitto-clients' && inside "$commands"; } >"$work/log" 2>&1 ||
  { tail -n 20 "$work/log" >&2; exit 1; }

echo box >"$tree/etc/hostname"
echo '127.0.0.1 localhost box' >"$tree/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' >"$tree/etc/fstab"
cat >"$tree/etc/systemd/system/check.service" <<'UNIT'
[Service]
ExecStart=/bin/bash -c '/src/tests/systemd/check.sh >/dev/ttyS0 2>&1; systemctl --no-block poweroff'
[Install]
WantedBy=multi-user.target
UNIT
inside 'systemctl enable -q check.service; systemctl -q mask serial-getty@ttyS0.service; apt-get clean'
umount "$tree/proc"
cp "$tree"/boot/vmlinuz-* "$work/kernel"
cp "$tree"/boot/initrd.img-* "$work/initrd"
truncate -s "$(($(du -sm "$tree" | cut -f1) + 1024))M" "$work/image"
mkfs.ext4 -q -d "$tree" "$work/image"

say 'booting it'
# Debian 13's kernel panics at cmpxchg16b as qemu 7.2 emulates it: hence cx16 off.
timeout 1800 qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 2048 -nic none -nographic -no-reboot \
  -kernel "$work/kernel" -initrd "$work/initrd" -append 'root=/dev/vda rw console=ttyS0 quiet panic=-1' \
  -drive "file=$work/image,format=raw,if=virtio" </dev/null | tee "$work/console"
say 'over'
grep -q '^systemd: [0-9]* checks passed' "$work/console"
