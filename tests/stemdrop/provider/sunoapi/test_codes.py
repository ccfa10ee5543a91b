"""Code and message together say what a refusal is, by host."""

import pytest

from stemdrop.provider.sunoapi.answers import read_callback, read_detail
from stemdrop.provider.sunoapi.codes import known_code

SUNO, KIE = "https://api.sunoapi.org", "https://api.kie.ai"
OWN = "http://separator:8100"


@pytest.mark.parametrize("api_url", [SUNO, OWN, "https://proxy.example/suno"])
@pytest.mark.parametrize(
    ("code", "message", "known"),
    [
        (429, "Insufficient Credits", 402),
        (429, "Your current credits are not enough, please top up.", 402),
        (429, "The credit is low", 402),
        (429, "当前积分不足", 402),
        (402, "payment required", 402),
        (429, "slow down", 429),
        (429, None, 429),
        (405, "Rate limit exceeded", 429),
        (430, "Call frequency is too high", 429),
        (500, "insufficient credits", 402),
        (531, "failed, credits were refunded: balance not enough", 531),
        (413, "too large", 413),
        (451, 17, 451),
        (599, "what", 599),
    ],
)
def test_the_default_table(api_url: str, code: int, message: object, known: int) -> None:
    assert known_code(api_url, code, message) == known


@pytest.mark.parametrize(
    ("code", "message", "known"),
    [
        (429, "rate limited; the credit endpoint takes 10 calls", 429),
        (429, "You do not have enough: insufficient credits", 402),
        (402, "", 402),
        (405, "not allowed", 405),
        (413, "matches an existing work", 413),
    ],
)
def test_the_table_of_kie(code: int, message: str, known: int) -> None:
    assert known_code(KIE, code, message) == known


def test_no_credits_in_a_callback_and_in_a_detail_is_402() -> None:
    body = {"code": "429", "msg": "insufficient credits", "data": {"task_id": "t"}}
    _, called_back = read_callback(body, SUNO)
    detail = {"successFlag": "CREATE_TASK_FAILED", "errorCode": "429", "errorMessage": "credits insufficient"}
    polled = read_detail(detail, SUNO)
    assert polled is not None
    assert called_back.code == polled.code == 402
    assert called_back.is_refunded
