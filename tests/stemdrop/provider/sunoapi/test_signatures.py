"""Attacks on the signatures of callbacks are refused as forged and raise no other exception."""

import base64
import hashlib
import hmac

import pytest
from builders import TASK

from stemdrop.errors import ForgedRequest
from stemdrop.provider.sunoapi.signatures import SIGNATURE_WINDOW_S, check_signature

NOW = 1_790_000_000
KEY = "hmac-key"


def signature(task_id: str = TASK, timestamp: str = str(NOW), key: str = KEY) -> str:
    """Sign as the provider's page describes it, independently of our code."""
    digest = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def check(task_id: str = TASK, timestamp: str = str(NOW), signed: str | None = None) -> None:
    check_signature(KEY, task_id, timestamp, signature() if signed is None else signed, lambda: float(NOW))


def test_the_providers_signature_is_accepted() -> None:
    check()


@pytest.mark.parametrize("off_s", [-SIGNATURE_WINDOW_S, -1, 0, 1, SIGNATURE_WINDOW_S])
def test_a_signature_within_the_window_is_accepted(off_s: int) -> None:
    timestamp = str(NOW + off_s)
    check(timestamp=timestamp, signed=signature(timestamp=timestamp))


@pytest.mark.parametrize("off_s", [-SIGNATURE_WINDOW_S - 1, SIGNATURE_WINDOW_S + 1, -(10**8), 10**8])
def test_a_signature_outside_the_window_is_refused(off_s: int) -> None:
    timestamp = str(NOW + off_s)
    with pytest.raises(ForgedRequest):
        check(timestamp=timestamp, signed=signature(timestamp=timestamp))


@pytest.mark.parametrize(
    "timestamp",
    [
        *(
            "",
            " ",
            "x",
            "-1",
            f"+{NOW}",
            f" {NOW}",
            f"{NOW} ",
            f"{NOW}.0",
            f"{NOW}\n",
            "1e9",
            "0x10",
            "²",
            "١٧٩",
        ),
        *("nan", "inf", "9" * 13, "9" * 5000, "\ud800", "\x00", f"{NOW},{NOW}"),
    ],
)
def test_an_unreadable_signature_time_is_refused(timestamp: str) -> None:
    with pytest.raises(ForgedRequest):
        check(timestamp=timestamp)


@pytest.mark.parametrize(
    "signed",
    [
        *("", " ", "x", "=", "é", "\ud800", "\x00", "\xff" * 44, "签名", "a" * 100_000),
        signature()[:-1],
        signature() + "=",
        " " + signature(),
        signature().lower(),
        signature(key="other"),
        signature(task_id="other"),
        signature(timestamp=str(NOW + 1)),
        signature().replace("+", "-").replace("/", "_").rstrip("="),
        f"v1,{signature()}",
        f"{signature()}, {signature()}",
    ],
)
def test_a_wrong_signature_is_refused(signed: str) -> None:
    with pytest.raises(ForgedRequest):
        check(signed=signed)


@pytest.mark.parametrize("task_id", ["", "other", TASK + " ", "\ud800", "é", "\x00", TASK * 1000])
def test_a_signature_for_another_task_is_refused(task_id: str) -> None:
    with pytest.raises(ForgedRequest):
        check(task_id=task_id)


def test_task_and_time_cannot_be_shifted() -> None:
    """`a.1` + `2` and `a` + `1.2` sign the same text, so a time with a dot is refused."""
    with pytest.raises(ForgedRequest):
        check(task_id=TASK, timestamp=f"1.{NOW}", signed=signature(task_id=f"{TASK}.1"))
