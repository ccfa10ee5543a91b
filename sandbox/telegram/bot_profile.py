"""What a Telegram client shows of a bot: its menu of commands and its description, in a user's language."""

import json
from collections.abc import Iterator
from typing import Any

from sandbox.telegram.chats import Chat, User
from sandbox.telegram.state import TelegramState


def commands(telegram: TelegramState, chat: Chat, user: User) -> list[dict[str, str]]:
    """Return the commands of the narrowest scope that has any (Bot API, BotCommandScope)."""
    for scope in _scopes(chat, user):
        for language in _languages(user):
            if found := telegram.commands.get((json.dumps(scope, sort_keys=True), language)):
                return found
    return []


def description(telegram: TelegramState, user: User) -> str:
    """Return the text that an empty chat with the bot shows."""
    found = (telegram.descriptions.get(("description", language)) for language in _languages(user))
    return next(filter(None, found), "")


def _languages(user: User) -> tuple[str, str]:
    return (user.language_code or "")[:2], ""


def _scopes(chat: Chat, user: User) -> Iterator[dict[str, Any]]:
    if chat.type == "private":
        yield {"type": "chat", "chat_id": chat.id}
        yield {"type": "all_private_chats"}
    else:
        is_administrator = chat.members.get(user.id) in ("creator", "administrator")
        yield {"type": "chat_member", "chat_id": chat.id, "user_id": user.id}
        if is_administrator:
            yield {"type": "chat_administrators", "chat_id": chat.id}
        yield {"type": "chat", "chat_id": chat.id}
        if is_administrator:
            yield {"type": "all_chat_administrators"}
        yield {"type": "all_group_chats"}
    yield {"type": "default"}
