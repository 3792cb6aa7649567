"""Examples for the OpenAPI document: what webhooks' routes take and answer."""

from typing import Any, Final

from api.openapi import JOB_ID

DELIVERY_ID: Final = f"msg_{JOB_ID.removeprefix('job_')}_9"
URL: Final = "https://hooks.example.com/secateur"
DELIVERY: Final[dict[str, Any]] = {
    "id": DELIVERY_ID,
    "job_id": JOB_ID,
    "event": "job.succeeded",
    "url": URL,
    "state": "delivered",
    "attempts": 2,
    "next_at": None,
    "last_status": 204,
    "last_error": None,
    "created_at": "2026-11-02T09:01:00Z",
    "delivered_at": "2026-11-02T09:01:06Z",
    "log": [
        {
            "number": 1,
            "at": "2026-11-02T09:01:00Z",
            "seconds": 0.041,
            "status": 500,
            "error": "it answered 500",
        },
        {
            "number": 2,
            "at": "2026-11-02T09:01:06Z",
            "seconds": 0.038,
            "status": 204,
            "error": None,
        },
    ],
}
PAGE: Final[dict[str, Any]] = {"data": [DELIVERY], "has_more": False, "next": None}
TEST: Final[dict[str, Any]] = {
    "id": "msg_test_0123456789abcdef01234567",
    "job_id": None,
    "event": "webhook.test",
    "url": URL,
    "state": "pending",
    "attempts": 0,
    "next_at": "2026-11-02T09:00:00Z",
    "last_status": None,
    "last_error": None,
    "created_at": "2026-11-02T09:00:00Z",
    "delivered_at": None,
    "log": [],
}
TEST_HEADERS: Final[dict[str, Any]] = {
    "Location": {"description": "where its fate can be read", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "seconds after which it makes sense to look",
        "schema": {"type": "string"},
    },
}
TRIAL_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["url"],
                    "additionalProperties": False,
                    "properties": {"url": {"type": "string", "maxLength": 2048}},
                },
                "example": {"url": URL},
            }
        },
    }
}
SECRET_INFO: Final[dict[str, Any]] = {
    "fingerprint": "9f86d081884c",
    "since": "2026-11-02T09:00:00Z",
    "previous": [{"fingerprint": "7d659a2feaa0", "valid_until": "2026-11-03T09:00:00Z"}],
}
SHOWN_SECRET: Final[dict[str, Any]] = {
    **SECRET_INFO,
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
}
