"""Who is in a group and what its members may send: joining, leaving, muting, and the bot's rank."""

from sandbox.telegram.chats import PERMISSIONS, Chat
from sandbox.telegram.errors import PersonError
from sandbox.telegram.person_actions import Telegram


def join(telegram: Telegram, chat_id: int, user_id: int) -> Chat:
    """Let a person into a group, with the service message of it."""
    chat, user = _group(telegram, chat_id), telegram.user(user_id)
    if chat.members.get(user_id, "left") == "left":
        chat.members[user_id] = "member"
        telegram.post(chat, user, {"new_chat_members": [user.to_dict()]})
    return _changed(telegram, chat)


def leave(telegram: Telegram, chat_id: int, user_id: int) -> Chat:
    """Let a person leave a group, with the service message of it; the owner stays."""
    chat, user = _group(telegram, chat_id), telegram.user(user_id)
    if chat.members.get(user_id) == "creator":
        raise PersonError("the owner of a group cannot leave it here")
    if user_id in chat.members:
        telegram.post(chat, user, {"left_chat_member": user.to_dict()})
        del chat.members[user_id]
    return _changed(telegram, chat)


def restrict(telegram: Telegram, chat_id: int, forbidden: list[str], *, bot_only: bool) -> Chat:
    """Take these permissions from the members or from the bot alone, and give all others back."""
    if unknown := set(forbidden) - PERMISSIONS.keys():
        raise PersonError(f"there is no permission {sorted(unknown)[0]}")
    chat = _group(telegram, chat_id)
    telegram.forbid(chat_id, *forbidden, bot_only=bot_only)
    return _changed(telegram, chat)


def _group(telegram: Telegram, chat_id: int) -> Chat:
    chat = telegram.chat(chat_id)
    if chat.type not in ("group", "supergroup"):
        raise PersonError("only a group has members")
    return chat


def _changed(telegram: Telegram, chat: Chat) -> Chat:
    telegram.add_event(chat.id, "chat", chat.to_dict())
    return chat
