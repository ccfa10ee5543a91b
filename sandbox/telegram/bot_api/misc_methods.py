"""Bot API methods other than messages and updates: the bot itself, chats, commands, callback queries."""

import json
import re
from typing import Any

from sandbox.telegram.bot_api.destination import check_topic, known_chat, writable_chat
from sandbox.telegram.bot_api.parameters import Call, integer, refuse_unknown_keys, typed
from sandbox.telegram.chats import PERMISSIONS
from sandbox.telegram.errors import QUERY_TOO_OLD, bad_request
from sandbox.telegram.state import TelegramState

_ACTIONS = {
    *("typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice"),
    *("upload_document", "choose_sticker", "find_location", "record_video_note", "upload_video_note"),
}
# core.telegram.org/bots/api#reactiontypeemoji
_REACTIONS = """
    ❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤\u200d🔥
    🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨\u200d💻 👀 🎃 🙈 😇 😨
    🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷\u200d♂ 🤷 🤷\u200d♀ 😡
"""
_SCOPES = {
    "default": set(),
    "all_private_chats": set(),
    "all_group_chats": set(),
    "all_chat_administrators": set(),
    "chat": {"chat_id"},
    "chat_administrators": {"chat_id"},
    "chat_member": {"chat_id", "user_id"},
}


async def get_me(telegram: TelegramState, call: Call) -> dict[str, Any]:
    return {
        **telegram.bot.to_dict(),
        "can_join_groups": True,
        "can_read_all_group_messages": not telegram.has_privacy_mode,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
    }


async def answer_callback_query(telegram: TelegramState, call: Call) -> bool:
    query = telegram.queries.get(call.arguments["callback_query_id"])
    age_s = telegram.clock() - query.date if query else 0
    if query is None or query.is_answered or age_s > telegram.query_lifetime_s:
        raise bad_request(QUERY_TOO_OLD)
    text = call.get("text") or ""
    if len(text) > 200:
        raise bad_request("MESSAGE_TOO_LONG")
    query.is_answered, query.answer_text, query.is_alert = True, text, bool(call.get("show_alert"))
    telegram.add_event(
        query.message.chat.id,
        "callback_answer",
        {"callback_query_id": query.id, "text": text, "show_alert": query.is_alert},
    )
    return True


async def send_chat_action(telegram: TelegramState, call: Call) -> bool:
    chat = writable_chat(telegram, call)
    if call.arguments["action"] not in _ACTIONS:
        raise bad_request("wrong parameter action in request")
    if chat.type == "channel":  # core.telegram.org/bots/api#sendchataction
        raise bad_request("chat actions are not supported in channels")
    check_topic(chat, call.get("message_thread_id"), general_has_id=True)
    telegram.add_event(chat.id, "action", {"action": call.arguments["action"]})
    return True


async def set_message_reaction(telegram: TelegramState, call: Call) -> bool:
    """Replace the bot's reaction; a bot has one per message, and no custom or paid emoji."""
    chat = writable_chat(telegram, call)
    message = telegram.find_message(chat, call.arguments["message_id"])
    if message is None:
        raise bad_request("message to react not found")
    wanted = call.get("reaction") or []
    for reaction in wanted:
        if not isinstance(reaction, dict) or "type" not in reaction:
            raise bad_request("can't parse reaction type: expected an Object")
        if reaction["type"] != "emoji" or reaction.get("emoji") not in _REACTIONS.split():
            raise bad_request("REACTION_INVALID")
    if len(wanted) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    message.reaction = wanted[0]["emoji"] if wanted else ""
    telegram.add_event(chat.id, "reaction", {"message_id": message.message_id, "reaction": message.reaction})
    return True


async def set_my_commands(telegram: TelegramState, call: Call) -> bool:
    commands = call.arguments["commands"]
    if len(commands) > 100:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    for command in commands:
        if not isinstance(command, dict):
            raise bad_request("can't parse BotCommand: expected an Object")
        refuse_unknown_keys(command, {"command", "description"}, "BotCommand")
        name, description = str(command.get("command", "")), str(command.get("description", ""))
        if not name:
            raise bad_request("command must be non-empty")
        if not re.fullmatch(r"[a-z0-9_]{1,32}", name):
            raise bad_request("BOT_COMMAND_INVALID")
        if not description:
            raise bad_request("command description must be non-empty")
        if len(description) > 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    telegram.commands[_scope(telegram, call)] = commands
    return True


async def get_my_commands(telegram: TelegramState, call: Call) -> list[dict[str, str]]:
    return telegram.commands.get(_scope(telegram, call), [])


async def delete_my_commands(telegram: TelegramState, call: Call) -> bool:
    telegram.commands.pop(_scope(telegram, call), None)
    return True


async def set_my_description(telegram: TelegramState, call: Call) -> bool:
    return _describe(telegram, call, "description", 512, "BOT_DESC_INVALID")


async def set_my_short_description(telegram: TelegramState, call: Call) -> bool:
    return _describe(telegram, call, "short_description", 120, "BOT_SHARETEXT_INVALID")


async def get_chat(telegram: TelegramState, call: Call) -> dict[str, Any]:
    chat = known_chat(telegram, call)
    is_group = chat.type in ("group", "supergroup")
    permissions = {name: name not in chat.forbidden for name in PERMISSIONS} if is_group else {}
    gifts = (
        "unlimited_gifts",
        "limited_gifts",
        "unique_gifts",
        "premium_subscription",
        "gifts_from_channels",
    )
    return {
        **chat.to_dict(),
        "accent_color_id": 0,
        "max_reaction_count": 11,
        **({"permissions": permissions} if permissions else {}),
        "accepted_gift_types": dict.fromkeys(gifts, False),
    }


def _scope(telegram: TelegramState, call: Call) -> tuple[str, str]:
    scope = call.get("scope") or {"type": "default"}
    kind = scope.get("type")
    if not isinstance(kind, str) or kind not in _SCOPES:
        raise bad_request("can't parse BotCommandScope: Unsupported type specified")
    refuse_unknown_keys(scope, {"type"} | _SCOPES[kind], "BotCommandScope")
    if missing := _SCOPES[kind] - scope.keys():
        raise bad_request(f"can't parse BotCommandScope: Can't find field \"{sorted(missing)[0]}\"")
    if "chat_id" in scope and typed("chat_id", integer, scope["chat_id"]) not in telegram.chats:
        raise bad_request("chat not found")
    return json.dumps(scope, sort_keys=True), _language(call)


def _describe(telegram: TelegramState, call: Call, name: str, limit: int, error: str) -> bool:
    text = call.get(name) or ""
    if len(text) > limit:
        raise bad_request(error)
    telegram.descriptions[name, _language(call)] = text
    return True


def _language(call: Call) -> str:
    code = call.get("language_code") or ""
    if not re.fullmatch(r"([a-z]{2})?", code):
        raise bad_request("invalid language code specified")
    return str(code)


async def get_chat_member(telegram: TelegramState, call: Call) -> dict[str, Any]:
    chat = known_chat(telegram, call)
    user_id = call.arguments["user_id"]
    user = telegram.bot if user_id == telegram.bot.id else telegram.users.get(user_id)
    if user is None:
        raise bad_request("member not found")
    return chat.member(user)
