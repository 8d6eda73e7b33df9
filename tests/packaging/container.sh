# A machine without systemd, as a container is: what tests/packaging/test_container.py runs as root of a fresh Debian.
# $1 and $2: the earlier version and the one to upgrade to. Says what it found wrong, and ends with 1.
set -u
fail() { echo "failed: $*" >&2; cat /run/log >&2; exit 1; }
look() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /dev -o -path /media -o -path /var/log \
        -o -path /var/cache -o -path /var/lib/dpkg -o -name '*-' \) -prune -o -printf '%p %y %m %u:%g %l\n' | sort
    find /etc -type f ! -name '*-' -exec md5sum {} + | sort -k 2
    ip -br link; ip route show table all; ip rule; nft list ruleset
    for one in ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/all/rp_filter ipv4/conf/all/send_redirects; do
        echo "$one $(cat /proc/sys/net/$one)"
    done
    pgrep -af 'bin/meshd|redis-server|valkey-server|wireguard-go'
}
begin() {
    meshd >>/run/log 2>&1 &
    for _ in $(seq 300); do meshctl --json status >/dev/null 2>&1 && return; sleep 0.2; done
    fail "meshd does not come up"
}
writable() {
    for _ in $(seq 300); do meshctl --json status | grep -q '"writable": true' && return; sleep 0.2; done
    fail "the mesh does not come up"
}
end() {
    pid=$(cat /run/meshd/meshd.lock)
    kill "$pid"
    while [ -d "/proc/$pid" ]; do sleep 0.1; done
}

# A node's life where there is Valkey instead of Redis.
on_valkey() {
    mv /usr/bin/redis-server /usr/bin/redis-server.away
    begin
    meshctl --timeout 60 create home >/dev/null || fail "create on Valkey"
    server=$(pgrep -f 'valkey-server .*:16379') || fail "Valkey does not serve"
    key=$(meshctl key show) && [ -n "$key" ] || fail "no key on Valkey"
    end
    begin
    writable
    [ "$(pgrep -f 'valkey-server .*:16379')" = "$server" ] || fail "Valkey was not adopted"
    kill -KILL "$server"
    for _ in $(seq 300); do pgrep -f 'valkey-server .*:16379' | grep -qvx "$server" && break; sleep 0.2; done
    writable
    [ "$(meshctl key show)" = "$key" ] || fail "Valkey forgot the mesh"
    meshctl routes add 203.0.113.0/24 >/dev/null || fail "a change on Valkey"
    meshctl --json routes list | grep -q 203.0.113.0/24 || fail "Valkey lost a change"
    meshctl doctor | grep -q 'redis-server: .*valkey-server' || fail "doctor does not find Valkey"
    mv /usr/bin/redis-server.away /usr/bin/redis-server
}

ip link set lo up
: >/run/log
echo 127.0.0.1 localhost >/etc/hosts
look >/run/before
dpkg -i /media/meshtui-helper_"$1"_*.deb || fail install
begin
meshctl --timeout 60 create home >/dev/null || fail create
[ -e /sys/class/net/home ] || fail "no interface"
pgrep -f 'redis-server .*:16379' >/dev/null || fail "redis-server does not serve"
echo '# ours' >>/etc/meshd/meshd.toml
# An upgrade that is cut off while it unpacks, one that stops before it configures, and then the rest of it.
setsid dpkg -i /media/meshtui-helper_"$2"_*.deb >/run/upgrade 2>&1 &
dpkg=$!
for _ in $(seq 500); do [ -n "$(find /usr/lib/meshtui -name '*.dpkg-new' | head -1)" ] && break; sleep 0.01; done
kill -KILL -"$dpkg" && wait "$dpkg" && fail "dpkg was done before it could be cut off"
meshctl status >/dev/null || fail "an upgrade that was cut off broke what runs"
dpkg --unpack /media/meshtui-helper_"$2"_*.deb >>/run/upgrade 2>&1 || fail "unpacking after it was cut off"
meshctl status >/dev/null || fail "what runs does not know the unpacked meshctl"
dpkg --configure -a >/run/upgrade 2>&1 || fail upgrade
grep -q 'end it (SIGTERM) and start it again' /run/upgrade || fail "an upgrade does not say what to do"
end
begin
writable
grep -q home.wg /etc/hosts || fail "no names"
grep -q '# ours' /etc/meshd/meshd.toml || fail "an upgrade lost the settings"
dpkg -i /media/meshtui-helper_"$1"_*.deb || fail downgrade
end
begin
writable
dpkg -i /media/meshtui-helper_"$2"_*.deb || fail "upgrade again"
dpkg -r meshtui-helper || fail remove
pgrep -af 'bin/meshd|redis-server|valkey-server|wireguard-go' && fail "something still runs after the removal"
[ ! -e /sys/class/net/home ] || fail "the interface is still there"
grep home /etc/hosts && fail "names are still there"
[ -e /var/lib/meshd/home/identity.json ] || fail "the identity is gone"
dpkg -i /media/meshtui-helper_"$2"_*.deb || fail "install again"
begin
writable
dpkg -P meshtui-helper || fail purge
if command -v valkey-server >/dev/null; then
    dpkg -i /media/meshtui-helper_"$2"_*.deb || fail "install once more"
    on_valkey
    dpkg -P meshtui-helper || fail "purge on Valkey"
fi
getent group mesh && fail "the group is still there"
look >/run/after
diff /run/before /run/after || fail "something was left behind"
echo all is as before
