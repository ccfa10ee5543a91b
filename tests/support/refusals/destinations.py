"""Refused destinations: chats, topics, rights and replies.

PEER_ID_INVALID and "bot can't initiate conversation with a user" cannot happen here: every person has a
private chat with the bot.
"""

from refusals.row import LIST, SEEN, SERVER, STRICTER, TDLIB, A, Refusal, text

CHATS = [
    text("chat_id is empty", SEEN, chat_id=None),
    text("chat_id is empty", SEEN, chat_id=""),
    text("chat not found", SEEN, chat_id=0),
    text("chat not found", SEEN, chat_id=-1),
    text("chat not found", SEEN, chat_id="@unknown"),
    text("chat not found", SEEN, chat_id="not_a_chat"),
    text("chat not found", SERVER, chat_id="9" * 5000),
    Refusal("sendMessage", {"chat_id": "$blocked", "text": "x"}, "bot was blocked by the user", SERVER, 403),
    Refusal(
        "sendMessage",
        {"chat_id": "$left_group", "text": "x"},
        "bot was kicked from the group chat",
        LIST,
        403,
    ),
    Refusal(
        "sendMessage",
        {"chat_id": "$left_supergroup", "text": "x"},
        "bot was kicked from the supergroup chat",
        LIST,
        403,
    ),
    text(
        "need administrator rights in the channel chat",
        "github.com/teloxide/teloxide/issues/450",
        chat_id="$foreign_channel",
    ),
    Refusal(
        "sendMessage",
        {"chat_id": "$migrated", "text": "x"},
        "group chat was upgraded to a supergroup chat",
        SERVER,
        answer={"migrate_to_chat_id": "$migrated_to"},
    ),
    text("not enough rights to send text messages to the chat", LIST, chat_id="$muted"),
    Refusal(
        "sendAudio",
        {"chat_id": "$muted", "audio": "$audio"},
        "not enough rights to send music to the chat",
        TDLIB,
    ),
    Refusal(
        "sendVoice",
        {"chat_id": "$muted", "voice": "$voice"},
        "not enough rights to send voice notes to the chat",
        TDLIB,
    ),
    Refusal(
        "sendDocument",
        {"chat_id": "$muted", "document": "$document"},
        "not enough rights to send documents to the chat",
        TDLIB,
    ),
    Refusal(
        "sendPhoto",
        {"chat_id": "$muted", "photo": "$document"},
        "not enough rights to send photos to the chat",
        TDLIB,
    ),
    Refusal(
        "sendMediaGroup",
        {"chat_id": "$muted", "media": [A, A]},
        "not enough rights to send music to the chat",
        TDLIB,
    ),
    Refusal(
        "sendVoice",
        {"chat_id": "$quiet", "voice": "$voice"},
        "VOICE_MESSAGES_FORBIDDEN",
        "github.com/AstrBotDevs/AstrBot/issues/5188",
    ),
    Refusal(
        "sendMessage", {"chat_id": "$flooded", "text": "x"}, "retry after 1", LIST, 429, {"retry_after": 1}
    ),
    text("message thread not found", SEEN, message_thread_id=999),
    text("message thread not found", "of the General topic: DOCS", chat_id="$forum", message_thread_id=1),
    text("message thread not found", SEEN, chat_id="$forum", message_thread_id="$deleted_topic"),
    text("TOPIC_CLOSED", TDLIB, chat_id="$forum", message_thread_id="$closed_topic"),
    text("message to be replied not found", SEEN, reply_parameters={"message_id": 999}),
    text("message to be replied not found", SEEN, reply_parameters={"message_id": "$deleted"}),
    text('can\'t find field "message_id"', SEEN, reply_parameters={}),
    text("can't parse reply parameters JSON object", SERVER, reply_parameters={"message_id": "one"}),
    text('unknown field "id" in reply_parameters', STRICTER, reply_parameters={"message_id": 1, "id": 1}),
]
