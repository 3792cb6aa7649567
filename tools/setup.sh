#!/usr/bin/env bash
# Create .venv and install Secateur with everything that its worker and tests need.
# Does nothing when the last run finished and neither the requirements nor the place changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Two calls at once take turns.
exec 9<tools/setup.sh
flock 9

stamp=.venv/.secateur-setup
# A virtual environment holds its own path, so a moved checkout needs a new one.
state="$(pwd -P) $(cat pyproject.toml constraints.txt tools/setup.sh | sha256sum)"
if [ -x .venv/bin/secateur ] && [ "$(cat "$stamp" 2>/dev/null)" = "$state" ]; then
    exit 0
fi

say() { printf '[setup] %s\n' "$*" >&2; }
fail() { printf '[setup] %s\n' "$@" >&2; exit 1; }

find_python() {
    local name
    for name in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

# Debian and Ubuntu ship Python without what `python -m venv` needs.
apt_install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $* with apt-get"
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >&2 ||
            fail "apt-get could not install $*"
    else
        fail "Python is incomplete here. Run this line, then try again:" \
            "  sudo apt-get update && sudo apt-get install -y $*"
    fi
}

python="$(find_python)" || {
    apt_install python3 python3-venv
    python="$(find_python)" || fail "Python 3.11 or newer is needed; set PYTHON to one."
}
version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    apt_install "python$version-venv"
fi

rm -f "$stamp"
here="$(pwd -P)"
if [ "$(.venv/bin/python -c 'import sys; print(sys.prefix, "%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$here/.venv $version" ]; then
    say "creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_PROGRESS=1
quiet=-qq
[ -t 2 ] && quiet=
# pip before uv: pip also looks where a machine keeps wheels of its own, such as a CPU build.
say "installing torch (on the first run a large download)"
# shellcheck disable=SC2086 # an empty $quiet is no argument
.venv/bin/python -m pip install $quiet "torch>=2.8,<=2.13.0" >&2
say "installing everything else"
.venv/bin/python -m pip install -qq -c constraints.txt uv >&2
.venv/bin/uv pip install --quiet --python .venv/bin/python -c constraints.txt -e '.[worker,mlflow,otel,dev]' >&2

printf '%s' "$state" >"$stamp"
say "done"
