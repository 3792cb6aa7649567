#!/usr/bin/env bash
# Build both images and run what is in them, on a machine without Docker: buildah works without an
# engine, and debootstrap makes a base where no registry can be asked for one.
#
#   apt-get install buildah podman debootstrap
#   docker/build-check.sh [OPTION...]        as root; what follows goes to `buildah build`, such as
#       -v /opt/wheels:/opt/wheels:ro        wheels that a machine has of its own
#       -v my-pip.conf:/etc/pip.conf:ro      and how pip finds them
#       --build-arg PIP_EXTRA_INDEX_URL=…    or an index with CPU builds of torch
#
# The base is Debian's Python in place of python:3.12-slim, so this checks the recipe and what it
# yields, not that image. Ends with `all is well`, or with the first thing that is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION=chroot
base=localhost/secateur-check-base:bookworm
work="$(mktemp -d)"
containers=()
servers=()

say() { printf '[build-check] %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

clean_up() {
    local server container
    for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
    for container in "${containers[@]}"; do buildah rm "$container" >/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT

make_base() {
    buildah inspect --type image "$base" >/dev/null 2>&1 && return
    say "making a base image with debootstrap"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        bookworm "$work/root" >"$work/debootstrap.log"
    # The images that Python's makers publish call it so.
    ln -s ../../bin/python3 "$work/root/usr/local/bin/python"
    tar -C "$work/root" -c . | podman import - "$base" >/dev/null
}

build() { # TARGET OPTION...
    local target="$1" began=$SECONDS
    shift
    buildah build --pull-never --format docker --layers --file docker/Dockerfile \
        --target "$target" --tag "secateur-$target:check" --build-arg PYTHON_IMAGE="$base" \
        --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date -u +%FT%TZ)" \
        "$@" . >"$work/$target.log" 2>&1 || { tail -30 "$work/$target.log" >&2; fail "$target is not built"; }
    say "secateur-$target: $(buildah images --format '{{.Size}}' "secateur-$target:check") in $((SECONDS - began)) s"
}

begin() { # TARGET: sets $container, whose files are on $root
    container="$(buildah from --pull-never "localhost/secateur-$1:check")"
    containers+=("$container")
    root="$(buildah mount "$container")"
    mkdir -p "$work/$1"
    chown 10001:10001 "$work/$1"
    touch "$work/$1.began"
}

# Volumes and tmpfs of the compose file; the network is this machine's.
inside() { # TARGET COMMAND...
    local target="$1"
    shift
    buildah run -v "$work/$target:/var/lib/secateur/work" -v "$work/$target:/tmp" \
        --env SECATEUR_DATABASE_URL=sqlite:////tmp/jobs.db \
        --env SECATEUR_BROKER_URL="redis://127.0.0.1:$broker_port/0" \
        --env SECATEUR_STORE_URL=file:///tmp/store \
        "$container" -- "$@"
}

health_of() { # TARGET: the words of its health check, one a line
    buildah inspect --type image "localhost/secateur-$1:check" |
        python3 -c 'import json, sys; print(*json.load(sys.stdin)["Docker"]["config"]["Healthcheck"]["Test"][1:], sep="\n")'
}

await_health() { # TARGET
    local words
    mapfile -t words < <(health_of "$1")
    for _ in $(seq 120); do
        inside "$1" "${words[@]}" >/dev/null 2>&1 && return
        sleep 1
    done
    tail -30 "$work/$1.out" >&2
    fail "$1 is not healthy"
}

# Everything but volumes and tmpfs is read-only in production: nothing may have been written there.
check_unwritten() { # TARGET
    local found
    found="$(find "$root" -xdev -newer "$work/$1.began" -type f ! -path "$root/etc/*" ! -path "$root/run/*")"
    [ -z "$found" ] || fail "$1 wrote outside its volumes: $found"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

check_common() { # TARGET
    local ids
    ids="$(inside "$1" id -u):$(inside "$1" id -g)"
    [ "$ids" = 10001:10001 ] || fail "$1 runs as $ids"
    inside "$1" secateur --help >/dev/null || fail "$1: secateur --help fails"
    for tool in pip gcc cc; do
        ! inside "$1" sh -c "command -v $tool" >/dev/null 2>&1 || fail "$1 has $tool"
    done
    say "$1: user $ids, no pip, no compiler"
}

stop_and_see() { # TARGET PATTERN STATUS...
    local target="$1" pattern="$2" status=0
    shift 2
    pkill -TERM --parent "$(pgrep -o -f "$pattern")" 2>/dev/null || true
    pkill -TERM -o -f "$pattern"
    wait "$server" || status=$?
    say "$target ended with $status"
}

make_base
build api "$@"
build worker --build-arg TORCH="${TORCH:-cpu}" "$@"
broker_port="$(free_port)"

begin api
check_common api
! inside api python -c 'import torch' 2>/dev/null || fail "the api image has torch"
say "api: no torch"
