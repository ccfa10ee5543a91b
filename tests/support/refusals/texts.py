"""Refused texts and buttons."""

from refusals.row import (
    DOCS,
    LIMITED,
    PARSE_BUTTON,
    SEEN,
    SERVER,
    STRICTER,
    TDLIB,
    TOO_OLD,
    Refusal,
    button,
    entity,
    formatted,
    text,
)

TEXTS = [
    text("message text is empty", SEEN, text=None),
    text("message text is empty", SEEN, text=""),
    text("text must be non-empty", SEEN, text="  \n"),
    text("message is too long", SEEN, text="x" * 4097),
    text("message is too long", "DOCS: lengths are in UTF-16 code units", text="🎵" * 2049),
    text('unknown parameter "txet" of sendMessage', STRICTER, txet="misspelt"),
    text("unsupported parse_mode", SEEN, parse_mode="INVALID"),
    text(
        "parse_mode Markdown is not supported by the local Telegram, only HTML is",
        LIMITED,
        parse_mode="MarkdownV2",
    ),
    formatted('Can\'t find end tag corresponding to start tag "b"', SEEN, "<b>unclosed"),
    formatted('Unsupported start tag "script" at byte offset 0', SEEN, "<script>alert(1)</script>"),
    formatted('Unsupported start tag "" at byte offset 3', TDLIB, "é < 5"),
    formatted(
        'Unmatched end tag at byte offset 10, expected "</i>", found "</b>"', SEEN, "<b><i>test</b></i>"
    ),
    formatted("Unexpected end tag at byte offset 1", TDLIB, "x</b>"),
    formatted("Unclosed start tag at byte offset 0", TDLIB, "<b"),
    formatted("Unclosed end tag at byte offset 4", TDLIB, "<b>x</b"),
    formatted('Tag "span" must have class "tg-spoiler" at byte offset 0', TDLIB, "<span>x</span>"),
    entity("can't parse MessageEntity: Unsupported type specified", SEEN, type="loud"),
    entity("can't parse MessageEntity: Can't find field \"url\"", SEEN, type="text_link"),
    entity("entity URL 'not-a-url' is invalid: Wrong HTTP URL", SEEN, type="text_link", url="not-a-url"),
    entity("entity URL '' is invalid: URL host is empty", SEEN, type="text_link", url=""),
    entity("can't parse MessageEntity: Can't find field \"custom_emoji_id\"", SEEN, type="custom_emoji"),
    entity('unknown field "colour" in MessageEntity', STRICTER, colour="red"),
    entity("receive an entity with incorrect offset -1", SEEN, offset=-1),
    entity("receive an entity with incorrect length -1", TDLIB, length=-1),
    entity("entity begins after the end of the text at UTF-16 offset 100", SEEN, offset=100),
    entity(
        "entity beginning at UTF-16 offset 0 ends after the end of the text at UTF-16 offset 100",
        SEEN,
        length=100,
    ),
    text('field "is_disabled" must be of type Boolean', SEEN, link_preview_options={"is_disabled": "yes"}),
    text(
        'unknown field "disabled" in link_preview_options', STRICTER, link_preview_options={"disabled": True}
    ),
]

BUTTONS = [
    text("can't parse reply keyboard markup JSON object", SERVER, reply_markup="{"),
    text('field "inline_keyboard" must be of type Array', SEEN, reply_markup={"inline_keyboard": "bad"}),
    text(PARSE_BUTTON + "expected an Array of Arrays", DOCS, reply_markup={"inline_keyboard": ["bad"]}),
    text(PARSE_BUTTON + "expected an Object", DOCS, reply_markup={"inline_keyboard": [["bad"]]}),
    text(
        'unknown field "force_reply" in reply_markup (the local Telegram supports inline keyboards only)',
        LIMITED,
        reply_markup={"force_reply": True},
    ),
    button("BUTTON_DATA_INVALID", SEEN, text="x", callback_data="x" * 65),
    button("BUTTON_DATA_INVALID", "DOCS: the limit is in bytes", text="x", callback_data="é" * 33),
    button(
        PARSE_BUTTON + "Text buttons are unallowed in the inline keyboard", SEEN, text="x", callback_data=""
    ),
    button(PARSE_BUTTON + "Text buttons are unallowed in the inline keyboard", SEEN, text="x"),
    button(PARSE_BUTTON + 'Can\'t find field "text"', SEEN, callback_data="x"),
    button(PARSE_BUTTON + 'Field "text" must be of type String', SERVER, text=1, callback_data="x"),
    button(PARSE_BUTTON + "text must be non-empty", DOCS, text=" ", callback_data="x"),
    button(
        PARSE_BUTTON + "exactly one action is allowed", DOCS, text="x", callback_data="y", url="https://x.org"
    ),
    button(
        PARSE_BUTTON + "invalid button style specified", DOCS, text="x", callback_data="y", style="warning"
    ),
    button('unknown field "data" in InlineKeyboardButton', STRICTER, text="x", data="y"),
    button("inline keyboard button URL 'nowhere' is invalid: Wrong HTTP URL", SEEN, text="x", url="nowhere"),
    button(
        "inline keyboard button URL 'ftp://x.org' is invalid: Unsupported URL protocol",
        SEEN,
        text="x",
        url="ftp://x.org",
    ),
    *(
        button(
            f"inline keyboard button Web App URL '{url}' is invalid: {problem}",
            source,
            text="x",
            web_app={"url": url},
        )
        for url, problem, source in [
            ("", "URL host is empty", TDLIB),
            ("https://", "URL host is empty", TDLIB),
            ("bad", "Only HTTPS links are allowed", SEEN),
            ("http://example.com", "Only HTTPS links are allowed", SEEN),
            ("http://127.0.0.1.example.com", "Only HTTPS links are allowed", SEEN),
            ("tg://resolve", "Only HTTPS links are allowed", TDLIB),
            ("https://nowhere/", "Wrong HTTP URL", TDLIB),
            ("https://[", "Wrong HTTP URL", DOCS),
        ]
    ),
    button(
        "link to a user can't be used in Web App URL buttons",
        TDLIB,
        text="x",
        web_app={"url": "tg://user?id=1"},
    ),
    button(
        PARSE_BUTTON + 'Field "web_app" must be of type Object', SERVER, text="x", web_app="https://x.org"
    ),
    button(PARSE_BUTTON + 'Can\'t find field "url"', SERVER, text="x", web_app={}),
    button(PARSE_BUTTON + 'Field "url" must be of type String', SERVER, text="x", web_app={"url": 1}),
    *(
        text(
            "BUTTON_TYPE_INVALID",
            "core.telegram.org/bots/api#inlinekeyboardbutton: in private chats only",
            chat_id=chat,
            reply_markup={"inline_keyboard": [[{"text": "x", "web_app": {"url": "https://x.org"}}]]},
        )
        for chat in ("$group", "$channel")
    ),
    button("BUTTON_COPY_TEXT_INVALID", SEEN, text="x", copy_text={"text": ""}),
    text(
        "reply markup is too long",
        SERVER,
        reply_markup={"inline_keyboard": [[{"text": "x", "callback_data": "y"}]] * 101},
    ),
    Refusal("answerCallbackQuery", {}, TOO_OLD, SEEN),
    Refusal("answerCallbackQuery", {"callback_query_id": "12345"}, TOO_OLD, SEEN),
    Refusal("answerCallbackQuery", {"callback_query_id": "$answered_query"}, TOO_OLD, SERVER),
    Refusal("answerCallbackQuery", {"callback_query_id": "$late_query"}, TOO_OLD, SERVER),
    Refusal(
        "answerCallbackQuery",
        {"callback_query_id": "$query", "text": "x" * 201},
        "MESSAGE_TOO_LONG",
        "core.telegram.org/method/messages.setBotCallbackAnswer",
    ),
]
