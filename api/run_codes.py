"""What the `error.code` of a failed job means. Where a request needs the same, it is a problem, too."""

from collections.abc import Mapping
from typing import Final

from core.destinations.errors import PushError, PushRefused, PushUnavailable
from core.errors import (
    BadTokenFile,
    BrokenCheckpoint,
    DataError,
    DiskFull,
    HubUnavailable,
    ModelError,
    ModelNotFound,
    OutOfMemory,
    PruningError,
    ResourceError,
    SecateurError,
    SingularHessian,
    SourceChanged,
    SourceError,
    SourceUnavailable,
    TextNotFound,
    TextTooShort,
    UnsafeModel,
    UnsupportedModel,
    WorkerLost,
)
from core.intake_errors import ModelTooLarge
from core.run_errors import PhaseTimeout

_ROWS: Final[tuple[tuple[str, SecateurError], ...]] = (
    ("The checkpoint cannot be used.", ModelError("the checkpoint cannot be used.", remedy="Check model.source.")),
    ("There is no model at `model.source`.",
     ModelNotFound("there is no example model 'kjv'.", remedy="There are: kjv-dlm, kjv-ar.")),
    ("The model holds what may run code, or leads out of its folder.",
     UnsafeModel("model has its weights only as model.bin, a format that can execute code.",
                 remedy="Convert the checkpoint to safetensors first.")),
    ("A family, or a key of config.json, that Secateur does not know.",
     UnsupportedModel("config.json has keys that are unknown for family llada: new_key.",
                      remedy="They could change the numerics, so they are not ignored; remove them if they do not.")),
    ("Tensors are missing, have other shapes than config.json implies, or hold NaN.",
     BrokenCheckpoint("2 tensors are missing, the first is model.norm.weight.",
                      remedy="Download the checkpoint again, or compare its config.json.")),
    ("The model has more bytes than may be fetched.",
     ModelTooLarge("hf://acme/model has 640 GB; 500 GB are allowed.",
                   remedy="Name a smaller model, or ask the operator to raise SECATEUR_MAX_MODEL_BYTES.")),
    ("The calibration text cannot be used.", DataError("the text cannot be used.", remedy="Check calibration.source.")),
    ("There is no text at `calibration.source`.",
     TextNotFound("there is no file at file:///data/text.txt.", remedy="Check calibration.source.")),
    ("The text has fewer tokens than the samples need.", TextTooShort("builtin:plain-text", 900, 16384)),
    ("The token file does not hold what such a file has to.",
     BadTokenFile("tokens.safetensors holds no input_ids.", remedy="Give input_ids as int64 of shape [N, L].")),
    ("The hub of a data set does not answer, or not with what it announced.",
     HubUnavailable("acme/text at main: the hub did not deliver it.", remedy="Try again later.")),
    ("What a source names cannot be read now.", SourceError("the source cannot be read.", remedy="Try again later.")),
    ("The store or the hub that a source lies in does not answer, or not with what it announced.",
     SourceUnavailable("s3://models/a does not answer.", remedy="Try again later.")),
    ("An object was replaced while it was being read.",
     SourceChanged("s3://models/a/model.safetensors was replaced while it was read.", remedy="Submit the job again.")),
    ("The numbers do not allow it.", PruningError("the model cannot be pruned so.", remedy="Choose another recipe.")),
    ("The Hessian of a matrix's inputs cannot be inverted.", SingularHessian("model.layers.0.mlp.up_proj", 0.01)),
    ("The machine is too small.", ResourceError("the machine is too small.", remedy="Use a larger one.")),
    ("The run needs more memory than the device, or its budget, has.",
     OutOfMemory("the smallest plan needs 17.10 GB; the budget is 16.00 GB.",
                 remedy="Raise the memory budget, or lower calibration.samples or sequence_length.")),
    ("The disk of the worker, or of the store, is full.",
     DiskFull("no space is left on the device.", remedy="Free some, and submit the job again.")),
    ("A phase took longer than the operator allows.",
     PhaseTimeout("analysing took longer than 3600 seconds.", remedy="Lower calibration.samples, or ask the operator.")),
    ("The destination does not take the result.",
     PushError("hf://acme/pruned does not take the result.", remedy="Push it again with `secateur push`.")),
    ("The server has no credentials for the destination, or not enough rights.",
     PushRefused("hf://acme/pruned refuses the server's credentials.", remedy="Ask the operator for a token that may write.")),
    ("The destination does not answer, or breaks off.",
     PushUnavailable("hf://acme/pruned does not answer.", remedy="Push it again with `secateur push`.")),
    ("The process that ran the job died, as often as a job is tried.",
     WorkerLost("the worker was lost 3 times.", remedy="Look at the attempts' logs, and retry the job.")),
)  # fmt: skip

RUNS: Final[Mapping[type[SecateurError], tuple[str, SecateurError]]] = {
    type(row[1]): row for row in _ROWS
}
