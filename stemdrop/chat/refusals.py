"""What Telegram's refusals mean: one table for every sender.

The texts are those of TDLib and the Bot API server (github.com/tdlib), and of Telegram's API
(core.telegram.org/api/errors), which the Bot API server passes on in capitals.
"""

import re
from enum import StrEnum

from telegram.error import BadRequest, Forbidden, TelegramError

from stemdrop.domain.jobs import Obstacle


class Refusal(StrEnum):
    GONE = "gone"  # the chat can no longer be written to: blocked, kicked, deleted
    NOT_HERE = "not here"  # the chat does not take this now; its members can change that (`obstacle_of`)
    WAIT = "wait"  # Telegram takes the same message later
    FILE_GONE = "file gone"  # Telegram does not know the `file_id`, or it means another kind of file
    CONTENT = "content"  # Telegram does not take this file or text; it may take it in another form
    UNKNOWN = "unknown"  # another error, such as one of the network


_OBSTACLES: dict[Obstacle, tuple[str, ...]] = {
    Obstacle.NO_MUSIC: ("rights to send music", "chat_send_audios_forbidden", "chat_send_media_forbidden"),
    Obstacle.NO_DOCUMENTS: ("rights to send documents", "chat_send_docs_forbidden"),
    Obstacle.NO_VOICE: (
        *("rights to send voice", "chat_send_voices_forbidden"),
        *("voice_messages_forbidden", "restricted receiving of voice messages"),
    ),
    Obstacle.TOPIC_CLOSED: ("topic_closed",),
    Obstacle.NO_RIGHTS: (
        *("no rights to send", "not enough rights", "chat_write_forbidden", "chat_send_plain_forbidden"),
        *("chat_restricted", "chat_guest_send_forbidden", "user_banned_in_channel", "payment_required"),
        *("need administrator rights", "chat_admin_required"),
    ),
}
_WAIT = ("too many requests", "slowmode_wait", "slow mode", "flood_wait")
_FILE_GONE = (
    "wrong file identifier",
    "wrong remote file identifier",
    "wrong file_id",
    "invalid file_id",
    "file_id_invalid",
    "file is temporarily unavailable",
    "file reference",
    "file_reference",
    "can't use file of type",
    "media_empty",
)
_GONE = ("chat not found", "peer_id_invalid", "user_deactivated", "channel_private")
_LONGEST_WAIT_S = 3600


def classify(error: TelegramError) -> Refusal:
    words = str(error).lower()
    if obstacle_of(error):
        return Refusal.NOT_HERE
    if isinstance(error, Forbidden) or _has(words, _GONE):
        return Refusal.GONE
    if _has(words, _WAIT):
        return Refusal.WAIT
    if isinstance(error, BadRequest):
        return Refusal.FILE_GONE if _has(words, _FILE_GONE) else Refusal.CONTENT
    return Refusal.CONTENT if "too large" in words else Refusal.UNKNOWN  # 413


def obstacle_of(error: TelegramError) -> Obstacle | None:
    """Return why the chat does not take a message now, if the error says that."""
    words = str(error).lower()
    return next((obstacle for obstacle, signs in _OBSTACLES.items() if _has(words, signs)), None)


def is_gone(error: TelegramError) -> bool:
    return classify(error) is Refusal.GONE


def wait_s(error: TelegramError, default_s: float) -> float:
    """Return the seconds to wait before another try, which slow mode names in its text, or `default_s`."""
    seconds = re.search(r"(?:wait_|after )(\d+)", str(error).lower())
    return min(float(seconds[1]), _LONGEST_WAIT_S) if seconds else default_s


def _has(words: str, signs: tuple[str, ...]) -> bool:
    return any(sign in words for sign in signs)
