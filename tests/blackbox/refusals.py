"""Refusals: which reason comes with which status code."""

import grpc
import pytest

from client import Refused

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: {
        "INVALID_FIELD",
        "PART_CHECKSUM_MISMATCH",
        "PART_SIZE_MISMATCH",
        "PART_TOO_LARGE",
        "PART_TYPE_MISMATCH",
        "CONSENT_RECEIPT_REQUIRED",
        "CONSENT_SIGNATURE_INVALID",
        "CONSENT_MALFORMED",
    },
    grpc.StatusCode.FAILED_PRECONDITION: {
        "CONSENT_KEY_UNKNOWN",
        "CONSENT_EXPIRED",
        "CONSENT_PURPOSE_NOT_GRANTED",
        "CONSENT_CATEGORY_NOT_COVERED",
        "CONSENT_EXPLICIT_REQUIRED",
        "CONSENT_WITHDRAWN",
        "NOTICE_UNKNOWN",
        "RETENTION_TOO_SHORT",
        "JOB_NOT_ACTIVE",
        "JOB_SPEC_MISMATCH",
        "SNAPSHOT_DEPLETED",
        "RESTORED",
    },
    grpc.StatusCode.UNAUTHENTICATED: {"CALLER_UNKNOWN"},
    grpc.StatusCode.PERMISSION_DENIED: {"CALLER_NOT_ALLOWED", "APPROVER_IS_REQUESTER", "APPROVER_DUPLICATE"},
    grpc.StatusCode.ALREADY_EXISTS: {"REQUEST_ID_REUSED", "CALL_ID_EXISTS", "CONSENT_ID_REUSED", "TENANT_EXISTS"},
    grpc.StatusCode.NOT_FOUND: {"RECORD_GONE", "NOT_FOUND"},
    grpc.StatusCode.RESOURCE_EXHAUSTED: {"TOO_MANY_UPLOADS"},
    grpc.StatusCode.UNAVAILABLE: {"CLOCK_UNTRUSTED"},
}


def refuses(call, *reasons):
    """Calls `call`, which must be refused for one of `reasons` with the code that belongs to it."""
    with pytest.raises(Refused) as caught:
        call()
    refusal = caught.value
    assert refusal.reason in reasons, refusal
    assert refusal.reason in CODES.get(refusal.code, ()), refusal
