"""Errors of the models that come from elsewhere.

ModelError
└── ModelTooLarge            more bytes than may be fetched
"""

from core.errors import ModelError


class ModelTooLarge(ModelError):
    code = "model-too-large"
