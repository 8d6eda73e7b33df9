# The life of the .rpm, with its scriptlets: what tests/packaging/test_container.py runs in namespaces of its own.
# $1: a fresh root without systemd; $2: the package. Says what it found wrong, and ends with 1.
set -u
root=$1
fail() { echo "failed: $*" >&2; cat "$root/run/log" >&2; exit 1; }
in_root() { chroot "$root" "$@"; }
put() { rpm --root "$root" --nodeps --ignorearch "$@"; }
begin() {
    chroot "$root" meshd >>"$root/run/log" 2>&1 &
    for _ in $(seq 600); do in_root meshctl --json status 2>/dev/null | grep -q "$1" && return; sleep 0.2; done
    fail "meshd does not come up: no $1"
}
look() { (cd "$root" && find etc usr var -xdev ! -path 'var/lib/rpm*' ! -name '*-' -printf '%p %y %m %U:%G %l\n' | sort); }

mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc" && mount -t sysfs sysfs "$root/sys" || exit 1
mount -t tmpfs tmpfs "$root/run" && mkdir "$root/run/lock" || exit 1
ip link set lo up
: >"$root/run/log"
echo 127.0.0.1 localhost >"$root/etc/hosts"
rpm --root "$root" --initdb
look >"$root/run/before"
put -i "$2" || fail install
in_root getent group mesh || fail "no group"
begin '"meshes": \[\]'
in_root meshctl --timeout 60 create home >/dev/null || fail create
grep -q "home:" "$root/proc/net/dev" || fail "no interface"
put -U --force "$2" 2>"$root/run/upgrade" || fail "upgrade: $(cat "$root/run/upgrade")"
grep -q 'end it (SIGTERM) and start it again' "$root/run/upgrade" || fail "an upgrade does not say what to do"
grep -q "home:" "$root/proc/net/dev" || fail "an upgrade took the interface down"
in_root meshctl status >/dev/null || fail "an upgrade ended meshd"
rpm --root "$root" -e meshtui-helper || fail remove
in_root pgrep -af 'bin/meshd|redis-server|wireguard-go' && fail "something still runs after the removal"
for _ in $(seq 50); do grep -q "home:" "$root/proc/net/dev" || break; sleep 0.1; done
grep -q "home:" "$root/proc/net/dev" && fail "the interface is still there"
[ ! -e "$root/run/meshd" ] || fail "/run/meshd is still there"
[ -e "$root/var/lib/meshd/home/identity.json" ] || fail "the identity is gone"
put -i "$2" || fail "install again"
begin '"writable": true'
rpm --root "$root" -e meshtui-helper || fail "remove again"
rm -r "$root/var/lib/meshd"
look >"$root/run/after"
# Folders that belong to packages of a Fedora, which is not there, stay; so does the group, as rpm packages do it.
diff "$root/run/before" "$root/run/after" | grep '^[<>]' | grep -v -e ' d 755 ' -e etc/group -e etc/gshadow && fail "something was left behind"
echo all is as before
