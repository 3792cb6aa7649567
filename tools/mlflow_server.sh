#!/usr/bin/env bash
# Create .venv/mlflow-server with a whole MLflow, for tests to log into, and print where it is.
# An environment of its own: what the server needs does not resolve beside our pinned packages.
# Does nothing when it is there already. Needs what tools/setup.sh makes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=3.17.2
place="$(cd .venv && pwd -P)/mlflow-server"
uv=.venv/bin/uv

# Two calls at once take turns.
exec 9<tools/mlflow_server.sh
flock 9

if [ "$(cat "$place/.made" 2>/dev/null)" != "$version" ]; then
    rm -rf "$place"
    "$uv" venv --quiet --python .venv/bin/python "$place" >&2
    "$uv" pip install --quiet --python "$place/bin/python" "mlflow==$version" >&2
    printf '%s' "$version" >"$place/.made"
fi
echo "$place"
