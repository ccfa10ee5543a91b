"""Refusals of other methods."""

from refusals.row import DOCS, LIMITED, LIST, SEEN, SERVER, TDLIB, Refusal

OTHERS = [
    Refusal(
        "getUpdates",
        {"offset": "$webhook"},
        "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
        LIST,
        409,
    ),
    Refusal(
        "setWebhook",
        {"url": "http://example.org/hook"},
        "bad webhook: An HTTPS URL must be provided for webhook",
        SERVER,
    ),
    Refusal(
        "setWebhook",
        {"url": "https://example.org:9000/hook"},
        "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
        SERVER,
    ),
    Refusal(
        "setWebhook",
        {"url": "https://example.org/", "secret_token": "not allowed!"},
        "secret token contains unallowed characters",
        SERVER,
    ),
    Refusal(
        "setMyCommands", {"commands": [{"command": "Start", "description": "x"}]}, "BOT_COMMAND_INVALID", SEEN
    ),
    Refusal(
        "setMyCommands",
        {"commands": [{"command": "", "description": "x"}]},
        "command must be non-empty",
        SEEN,
    ),
    Refusal(
        "setMyCommands",
        {"commands": [{"command": "start", "description": ""}]},
        "command description must be non-empty",
        SEEN,
    ),
    Refusal(
        "setMyCommands",
        {"commands": [{"command": "start", "description": "x" * 257}]},
        "BOT_COMMAND_DESCRIPTION_INVALID",
        "core.telegram.org/method/bots.setBotCommands",
    ),
    Refusal(
        "setMyCommands",
        {"commands": [{"command": "start", "description": "x"}] * 101},
        "BOT_COMMANDS_TOO_MUCH",
        DOCS,
    ),
    Refusal(
        "setMyCommands",
        {"commands": [], "scope": {"type": "everywhere"}},
        "can't parse BotCommandScope: Unsupported type specified",
        SERVER,
    ),
    Refusal(
        "setMyCommands", {"commands": [], "scope": {"type": "chat", "chat_id": 1}}, "chat not found", SERVER
    ),
    Refusal(
        "setMyCommands",
        {"commands": [], "scope": {"type": "chat"}},
        "can't parse BotCommandScope: Can't find field \"chat_id\"",
        SEEN,
    ),
    Refusal("setMyDescription", {"description": "x" * 513}, "BOT_DESC_INVALID", SEEN),
    Refusal("setMyShortDescription", {"short_description": "x" * 121}, "BOT_SHARETEXT_INVALID", SEEN),
    Refusal("setMyDescription", {"language_code": "english"}, "invalid language code specified", TDLIB),
    Refusal("sendChatAction", {"chat_id": "$alice"}, "wrong parameter action in request", SEEN),
    Refusal(
        "sendChatAction",
        {"chat_id": "$alice", "action": "dancing"},
        "wrong parameter action in request",
        SEEN,
    ),
    Refusal(
        "sendChatAction",
        {"chat_id": "$channel", "action": "typing"},
        "chat actions are not supported in channels",
        DOCS,
    ),
    Refusal("getChat", {"chat_id": 1}, "chat not found", SEEN),
    Refusal("getChatMember", {"chat_id": "$group"}, "invalid user_id specified", SEEN),
    Refusal("getChatMember", {"chat_id": "$group", "user_id": 999_999_999_999}, "member not found", SEEN),
    Refusal(
        "sendLocation",
        {},
        "method not found: the local Telegram does not support the method sendLocation",
        LIMITED,
        404,
    ),
    Refusal(
        "sendSong",
        {},
        "method not found: the local Telegram does not support the method sendSong",
        SERVER,
        404,
    ),
]
