"""What the process of a run gets of its worker's environment: what is named here, and no secret.

A run parses files that strangers wrote. Its environment is what every library reads, every child
inherits and every dump prints, so secrets go to it on its standard input instead: see `core.vault`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import SecretStr

SECRETS: Final = frozenset(
    """
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_SECURITY_TOKEN
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_CREDENTIALS_FULL_URI
    AWS_CONTAINER_AUTHORIZATION_TOKEN
    HF_TOKEN HUGGING_FACE_HUB_TOKEN
    MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD MLFLOW_TRACKING_TOKEN MLFLOW_TRACKING_AUTH
    AZURE_STORAGE_CONNECTION_STRING AZURE_STORAGE_ACCESS_KEY DATABRICKS_TOKEN
    OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_TRACES_HEADERS OTEL_EXPORTER_OTLP_METRICS_HEADERS
    """.split()  # noqa: SIM905 - a list of names reads better as one
)
"""Variables that clients of a run need and that open something."""

PLAIN: Final = frozenset(
    """
    PATH HOME USER LOGNAME SHELL PWD LANG LANGUAGE TZ TMPDIR TEMP TMP TERM HOSTNAME VIRTUAL_ENV
    LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH CUBLAS_WORKSPACE_CONFIG
    SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy
    HF_ENDPOINT HF_HOME HF_TOKEN_PATH HF_HUB_DISABLE_IMPLICIT_TOKEN XDG_CACHE_HOME XDG_CONFIG_HOME MPLCONFIGDIR
    AWS_SHARED_CREDENTIALS_FILE AWS_CONFIG_FILE AWS_PROFILE AWS_DEFAULT_PROFILE AWS_REGION
    AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_CA_BUNDLE AWS_ROLE_ARN
    AWS_ROLE_SESSION_NAME AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
    AWS_EC2_METADATA_DISABLED AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_STS_REGIONAL_ENDPOINTS
    AWS_USE_FIPS_ENDPOINT AWS_USE_DUALSTACK_ENDPOINT AWS_SDK_LOAD_CONFIG AWS_CREDENTIAL_EXPIRATION
    GOOGLE_APPLICATION_CREDENTIALS DO_NOT_TRACK TRACEPARENT TRACESTATE
    """.split()  # noqa: SIM905 - likewise
)
"""Variables that say where and how. A path to secrets is none: whoever may read the file may."""

KINDS: Final = (
    "LC_", "PYTHON", "CUDA_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_", "ROCM_", "HSA_", "OMP_", "GOMP_",
    "KMP_", "MKL_", "DNNL_", "ONEDNN_", "NUMEXPR_", "VECLIB_", "GLOO_", "UCX_", "OPENBLAS_", "BLIS_", "MALLOC_", "TORCH", "PYTORCH_", "TRITON_", "HF_HUB_", "HF_XET_",
    "TOKENIZERS_", "TRANSFORMERS_", "SAFETENSORS_", "MLFLOW_", "OTEL_", "COVERAGE_",
)  # fmt: skip
"""What other names may begin with, if nothing in them sounds like a secret."""

_SOUNDS_SECRET: Final = re.compile(
    r"TOKEN(?!IZERS)|SECRET|PASS|CREDENTIAL|HEADERS|(^|_)(API|ACCESS|PRIVATE)?_?KEY(_|$)|_AUTH$"
)


def open_to_a_run(environ: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """The variables that the process of a run gets; `more` are names that its operator adds.

    Neither our own settings, since what a run may know of them is in its request, nor a secret.
    """
    added = set(more) - SECRETS
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("SECATEUR_") and (_is_plain(name) or name in added)
    }


def _is_plain(name: str) -> bool:
    if name in PLAIN:
        return True
    return name.startswith(KINDS) and name not in SECRETS and not _SOUNDS_SECRET.search(name)


def secrets_of(environ: Mapping[str, str]) -> dict[str, SecretStr]:
    """The variables that a run needs and its environment must not show."""
    return {name: SecretStr(environ[name]) for name in sorted(SECRETS & environ.keys())}
