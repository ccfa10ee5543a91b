"""What Telegram's refusals mean, by the texts that its servers answer with."""

import pytest
from telegram.error import BadRequest, Forbidden, NetworkError, TelegramError, TimedOut

from stemdrop.chat.refusals import Refusal, classify, obstacle_of, wait_s
from stemdrop.domain.failures import REMEDIES
from stemdrop.domain.jobs import Obstacle
from stemdrop.operator.job_data import MEANINGS


@pytest.mark.parametrize(
    ("text", "obstacle"),
    [
        ("Not enough rights to send music to the chat", Obstacle.NO_MUSIC),
        ("not enough rights to send music to the chat", Obstacle.NO_MUSIC),
        ("CHAT_SEND_AUDIOS_FORBIDDEN", Obstacle.NO_MUSIC),
        ("CHAT_SEND_MEDIA_FORBIDDEN", Obstacle.NO_MUSIC),
        ("not enough rights to send documents to the chat", Obstacle.NO_DOCUMENTS),
        ("CHAT_SEND_DOCS_FORBIDDEN", Obstacle.NO_DOCUMENTS),
        ("not enough rights to send voice notes to the chat", Obstacle.NO_VOICE),
        ("VOICE_MESSAGES_FORBIDDEN", Obstacle.NO_VOICE),
        ("User restricted receiving of voice messages", Obstacle.NO_VOICE),
        ("CHAT_WRITE_FORBIDDEN", Obstacle.NO_RIGHTS),
        ("CHAT_RESTRICTED", Obstacle.NO_RIGHTS),
        ("have no rights to send a message", Obstacle.NO_RIGHTS),
        ("not enough rights to send text messages to the chat", Obstacle.NO_RIGHTS),
        ("need administrator rights in the channel chat", Obstacle.NO_RIGHTS),
        ("TOPIC_CLOSED", Obstacle.TOPIC_CLOSED),
    ],
)
def test_a_chat_that_does_not_take_this_now_is_not_gone(text: str, obstacle: Obstacle) -> None:
    for error in (BadRequest(text), Forbidden(text)):
        assert (classify(error), obstacle_of(error)) == (Refusal.NOT_HERE, obstacle)


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (Forbidden("bot was blocked by the user"), Refusal.GONE),
        (Forbidden("bot was kicked from the supergroup chat"), Refusal.GONE),
        (Forbidden("user is deactivated"), Refusal.GONE),
        (BadRequest("Chat not found"), Refusal.GONE),
        (BadRequest("SLOWMODE_WAIT_30"), Refusal.WAIT),
        (BadRequest("Too Many Requests: retry after 5"), Refusal.WAIT),
        (BadRequest("SLOWMODE_MULTI_MSGS_DISABLED"), Refusal.CONTENT),  # singly it may pass
        (BadRequest("wrong file identifier/HTTP URL specified"), Refusal.FILE_GONE),
        (BadRequest("can't use file of type Document as Audio"), Refusal.FILE_GONE),
        (BadRequest("IMAGE_PROCESS_FAILED"), Refusal.CONTENT),
        (NetworkError("Request Entity Too Large"), Refusal.CONTENT),
        (NetworkError("Bad Gateway"), Refusal.UNKNOWN),
        (TimedOut(), Refusal.UNKNOWN),
    ],
)
def test_other_refusals(error: TelegramError, refusal: Refusal) -> None:
    assert (classify(error), obstacle_of(error)) == (refusal, None)


def test_slow_mode_says_how_long_to_wait() -> None:
    assert wait_s(BadRequest("SLOWMODE_WAIT_30"), 2) == 30
    assert wait_s(BadRequest("Too Many Requests: retry after 5"), 2) == 5
    assert wait_s(BadRequest("SLOWMODE_WAIT_99999999"), 2) == 3600
    assert wait_s(TimedOut(), 2) == 2


def test_every_obstacle_is_explained() -> None:
    assert set(Obstacle) <= REMEDIES.keys()
    assert set(Obstacle) <= MEANINGS.keys()
