# A machine's life with the Ansible role and real packages: what tests/packaging/test_ansible.py runs as root of a fresh
# Debian without systemd. $1 and $2: the earlier version and the one to upgrade to.
set -u
fail() { echo "failed: $*" >&2; cat /run/log /run/play >&2; exit 1; }
# changed NUMBER WORD…: a run of the role that changes as many things
changed() {
    wanted=$1
    shift
    ansible-playbook -i localhost, -c local -e ansible_python_interpreter=/usr/bin/python3 "$@" /media/play.yml >/run/play 2>&1 ||
        fail "the role, $*"
    grep -q "changed=$wanted " /run/play || fail "not $wanted changes, $*"
}
# given VERSION: the variable that names its packages
given() { echo "{\"meshtui_packages\": [\"/media/meshtui-helper_$1_$architecture.deb\", \"/media/meshtui_$1_$architecture.deb\"]}"; }
look() { find /etc /usr /var -xdev -path /var/lib/dpkg -prune -o -path /var/log -prune -o -type f ! -name '*-' -printf '%p\n' | sort; }

begin() {
    meshd >>/run/log 2>&1 &
    for _ in $(seq 300); do meshctl --json status >/dev/null 2>&1 && return; sleep 0.2; done
    fail "meshd does not come up"
}

architecture=$(dpkg --print-architecture)
ip link set lo up
: >/run/log
echo 127.0.0.1 localhost >/etc/hosts
apt-get update >/dev/null 2>&1 # whatever it leaves behind here
look >/run/before
ansible-playbook -i /media/inventory -e ansible_become=false --check /media/packaging/ansible/example.yml >/run/play 2>&1 ||
    fail "the example"
grep -q "ok=[5-9] " /run/play || fail "the example does not look at the machine"
changed '[0-9]*' --check -e "$(given "$1")"
[ ! -e /usr/bin/meshctl ] || fail "check mode installed something"
changed 3 -e "$(given "$1")" # brought, installed, what was brought removed
changed 0 -e "$(given "$1")"
echo '# ours' >>/etc/meshd/meshd.toml
begin
meshctl --timeout 60 create home >/dev/null || fail create
changed '[0-9]*' --check -e "$(given "$2")"
dpkg-query -W -f '${Version}' meshtui | grep -qx "$1" || fail "check mode upgraded something"
changed 3 -e "$(given "$2")"
for one in meshtui meshtui-helper; do
    dpkg-query -W -f '${Version}' $one | grep -qx "$2" || fail "$one is not upgraded"
done
grep -q '# ours' /etc/meshd/meshd.toml || fail "an upgrade lost the settings"
changed 0 -e "$(given "$2")"
# As an upgrade says where there is no systemd: what is frozen below is the version that is tested.
pid=$(cat /run/meshd/meshd.lock)
kill "$pid"
while [ -d "/proc/$pid" ]; do sleep 0.1; done
begin
for _ in $(seq 300); do meshctl --json status | grep -q '"writable": true' && break; sleep 0.2; done
kill -STOP "$(cat /run/meshd/meshd.lock)"
ansible-playbook -i localhost, -c local -e ansible_python_interpreter=/usr/bin/python3 -e "$(given "$2")" \
    -e meshtui_state=absent /media/play.yml >/run/play 2>&1 && fail "purged without leaving: meshd did not answer"
kill -CONT "$(cat /run/meshd/meshd.lock)"
changed 2 -e "$(given "$2")" -e meshtui_state=absent # left, purged
changed 0 -e "$(given "$2")" -e meshtui_state=absent
look >/run/after
diff /run/before /run/after || fail "something was left behind"
echo all is as before
