"""The refusals of the Bot API and the stricter ones of the local Telegram, with their words.

Each row of a table changes one part of a valid call.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import telegram as ptb

from sandbox.telegram.chats import User
from sandbox.telegram.media import jpeg_from_colour
from sandbox.telegram.person_actions import Telegram

Maker = Callable[..., Path]


def markup(**button: Any) -> str:
    return json.dumps({"inline_keyboard": [[button]]})


def refusal(answer: httpx.Response, status: int = 400) -> str:
    body = answer.json()
    assert (answer.status_code, body["ok"], body["error_code"]) == (status, False, status)
    return str(body["description"])


SEND_MESSAGE: list[tuple[dict[str, Any], str]] = [
    ({"chat_id": None}, "Bad Request: chat_id is empty"),
    ({"chat_id": "424242"}, "Bad Request: chat not found"),
    ({"chat_id": "@unknown"}, "Bad Request: chat not found"),
    ({"chat_id": "abc"}, 'Bad Request: parameter "chat_id" must be of type Integer'),
    ({"text": None}, "Bad Request: message text is empty"),
    ({"text": ""}, "Bad Request: message text is empty"),
    ({"text": "  \n"}, "Bad Request: text must be non-empty"),
    ({"text": "x" * 4097}, "Bad Request: message is too long"),
    ({"text": "🎵" * 2049}, "Bad Request: message is too long"),
    ({"txet": "misspelt"}, 'Bad Request: unknown parameter "txet" of sendMessage'),
    ({"parse_mode": "HTML"}, "Bad Request: parse_mode is not supported by the local Telegram"),
    ({"entities": "[]"}, 'Bad Request: unknown parameter "entities" of sendMessage'),
    ({"message_thread_id": "5"}, "Bad Request: message thread not found"),
    ({"reply_parameters": '{"message_id": 999}'}, "Bad Request: message to be replied not found"),
    (
        {"reply_parameters": '{"message_id": "1"}'},
        "Bad Request: can't parse reply parameters JSON object",
    ),
    ({"reply_parameters": '{"id": 1}'}, 'Bad Request: unknown field "id" in reply_parameters'),
    ({"reply_markup": "{"}, "Bad Request: can't parse reply keyboard markup JSON object"),
    ({"reply_markup": markup(text="x", callback_data="x" * 65)}, "Bad Request: BUTTON_DATA_INVALID"),
    ({"reply_markup": markup(text="x", callback_data="é" * 33)}, "Bad Request: BUTTON_DATA_INVALID"),
    ({"reply_markup": markup(text="x", callback_data="")}, "Bad Request: BUTTON_DATA_INVALID"),
    (
        {"reply_markup": markup(text="x")},
        "Bad Request: text buttons are unallowed in the inline keyboard",
    ),
    (
        {"reply_markup": markup(text="x", url="nowhere")},
        "Bad Request: inline keyboard button URL 'nowhere' is invalid: Wrong HTTP URL",
    ),
    (
        {"reply_markup": markup(text="x", callback_data="y", style="warning")},
        "Bad Request: can't parse inline keyboard button: invalid button style specified",
    ),
    (
        {"reply_markup": markup(text="x", data="y")},
        'Bad Request: unknown field "data" in InlineKeyboardButton',
    ),
]


async def test_send_message(api: httpx.AsyncClient, tg: Telegram, alice: User) -> None:
    good = {"chat_id": str(alice.id), "text": "hello"}
    assert (await api.post("sendMessage", data=good)).json()["ok"]
    for change, words in SEND_MESSAGE:
        form = {key: value for key, value in {**good, **change}.items() if value is not None}
        assert refusal(await api.post("sendMessage", data=form)) == words
    assert len(tg.messages(alice.id)) == 1


HALF = "\ud83c"  # of a note, as JavaScript cuts one
NOT_UTF_8 = "Bad Request: strings must be encoded in UTF-8"
MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("sendMessage", {"json": {"text": HALF}}, NOT_UTF_8),
    ("sendMessage", {"json": {HALF: "x"}}, NOT_UTF_8),
    ("sendMessage", {"json": {"reply_markup": HALF}}, NOT_UTF_8),
    ("sendMessage", {"data": {"text": "x", "reply_markup": markup(text=HALF)}}, NOT_UTF_8),
    ("sendMessage", {"content": b'{"text": 1e999}'}, "Bad Request: can't parse JSON object"),
    ("sendMessage", {"content": b"[" * 100_000}, "Bad Request: can't parse JSON object"),
    ("sendMessage", {"content": b'{"text": "\xed\xa0"}'}, "Bad Request: can't parse JSON object"),
    ("setMyCommands", {"json": {"commands": [], "scope": {"type": []}}}, "Bad Request: can't parse BotComm"),
    (
        "setMyCommands",
        {"json": {"commands": [], "scope": {"type": "chat", "chat_id": {}}}},
        'Bad Request: parameter "chat_id" must be of type Integer',
    ),
    ("setWebhook", {"json": {"url": "https://["}}, "Bad Request: bad webhook: invalid webhook URL specified"),
    ("setWebhook", {"json": {"url": "https://x:y"}}, "Bad Request: bad webhook: invalid webhook URL specif"),
    *(
        ("sendMediaGroup", {"json": {"media": [{"type": "audio", "media": "x", **item}] * 2}}, words)
        for item, words in list[tuple[dict[str, Any], str]](
            [
                (
                    {"type": ["audio"]},
                    "Bad Request: can't parse InputMedia: the local Telegram does not support",
                ),
                ({"caption": 5}, 'Bad Request: parameter "caption" must be of type String'),
                ({"thumbnail": [5]}, 'Bad Request: parameter "thumbnail" must be of type String'),
            ]
        )
    ),
]


def as_bytes(request: dict[str, Any]) -> dict[str, Any]:
    """Encode JSON here, because httpx refuses halves of characters."""
    if "data" in request:
        return request
    content = request.get("content") or json.dumps(request["json"])
    return {"content": content, "headers": {"Content-Type": "application/json"}}


async def test_malformed_texts_and_values(
    api: httpx.AsyncClient, chat: httpx.AsyncClient, alice: User
) -> None:
    to_alice = {"chat_id": alice.id}
    for method, request, words in MALFORMED:
        params = to_alice if method.startswith("send") else {}
        answer = await api.post(method, params=params, **as_bytes(request))
        assert refusal(answer)[: len(words)] == words
    assert (await chat.get("records")).status_code == 200  # they are logged, and can be shown


async def test_a_form_in_a_character_set_with_halves_of_characters(api: httpx.AsyncClient) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b; charset=utf-7"}
    for head in ('name="text"', 'name="x"; filename="+2AA-.mp3"', 'name="+2AA-"'):
        body = f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n+2AA-\r\n--b--\r\n"
        assert refusal(await api.post("sendMessage", content=body, headers=kind)) == NOT_UTF_8


async def test_no_poll_lasts_longer_than_telegrams(api: httpx.AsyncClient, tg: Telegram, alice: User) -> None:
    tg.send_text(alice.id, "hello")
    assert len((await api.post("getUpdates", json={"timeout": 10**400})).json()["result"]) == 1


async def test_a_reply_to_a_missing_message_is_sent_when_allowed(api: httpx.AsyncClient, alice: User) -> None:
    reply = {"message_id": 999, "allow_sending_without_reply": True}
    answer = await api.post("sendMessage", json={"chat_id": alice.id, "text": "x", "reply_parameters": reply})
    assert "reply_to_message" not in answer.json()["result"]


async def test_edits(bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker) -> None:
    sent = await bot.send_message(alice.id, "text")
    theirs = tg.send_text(alice.id, "mine")
    audio = await bot.send_audio(alice.id, make_audio("a.mp3"))
    for message_id, text, words in [
        (sent.message_id, "text", "specified new message content and reply markup are exactly the same"),
        (999, "x", "Message to edit not found"),
        (theirs.message_id, "x", "Message can't be edited"),
        (audio.message_id, "x", "There is no text in the message to edit"),
    ]:
        with pytest.raises(ptb.error.BadRequest, match=words):
            await bot.edit_message_text(text, alice.id, message_id)
    tg.delete_message(alice.id, sent.message_id)
    with pytest.raises(ptb.error.BadRequest, match="Message to edit not found"):
        await bot.edit_message_text("late", alice.id, sent.message_id)


async def test_a_second_late_or_too_long_answer_to_a_query_is_refused(
    bot: ptb.Bot, tg: Telegram, alice: User, clock: Any
) -> None:
    buttons = ptb.InlineKeyboardMarkup.from_button(ptb.InlineKeyboardButton("x", callback_data="x"))
    sent = await bot.send_message(alice.id, "choose", reply_markup=buttons)
    query = tg.tap(alice.id, sent.message_id, "x")
    with pytest.raises(ptb.error.BadRequest, match="Message_too_long"):
        await bot.answer_callback_query(query.id, "x" * 201)
    await bot.answer_callback_query(query.id)
    with pytest.raises(ptb.error.BadRequest, match="Query is too old"):
        await bot.answer_callback_query(query.id)
    late = tg.tap(alice.id, sent.message_id, "x")
    clock.advance(61)
    for query_id in (late.id, "12345"):
        with pytest.raises(ptb.error.BadRequest, match="Query is too old and response timeout expired"):
            await bot.answer_callback_query(query_id)
    assert tg.unanswered_queries == [late]


async def test_albums(
    api: httpx.AsyncClient, bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    audio = await bot.send_audio(alice.id, make_audio("a.mp3"))
    document = await bot.send_document(alice.id, make_audio("a.wav"))
    assert audio.audio is not None
    assert document.document is not None
    a = {"type": "audio", "media": audio.audio.file_id}
    d = {"type": "document", "media": document.document.file_id}
    for media, words in [
        ([a], "wrong number of items in the album: 2-10 are allowed"),
        ([a] * 11, "wrong number of items in the album: 2-10 are allowed"),
        ([a, d], "audio and document can't be mixed with other media types in an album"),
        ([a, {**a, "media": "attach://x"}], 'wrong file identifier/HTTP URL specified: no uploaded part "x"'),
        ([a, {**a, "caption": "x" * 1025}], "message caption is too long"),
        ([a, {**a, "captoin": "x"}], 'unknown field "captoin" in InputMedia of type audio'),
        ([a, {**a, "parse_mode": "HTML"}], "parse_mode is not supported by the local Telegram"),
        ([a, {"type": "audio"}], "can't parse InputMedia: media is required"),
        ([a, {**a, "media": document.document.file_id}], "can't use file of type Document as Audio"),
    ]:
        answer = await api.post("sendMediaGroup", json={"chat_id": alice.id, "media": media})
        assert refusal(answer) == f"Bad Request: {words}"
    assert len(tg.messages(alice.id)) == 2


async def test_an_unused_uploaded_part_is_refused(
    api: httpx.AsyncClient, alice: User, make_audio: Maker
) -> None:
    song = ("a.mp3", make_audio("a.mp3").read_bytes(), "audio/mpeg")
    media = json.dumps([{"type": "audio", "media": f"attach://{name}"} for name in ("one", "two")])
    form = {"chat_id": str(alice.id), "media": media}
    answer = await api.post("sendMediaGroup", data=form, files={"one": song, "two": song, "spare": song})
    assert refusal(answer) == 'Bad Request: uploaded part "spare" is not referred to'
    assert (await api.post("sendMediaGroup", data=form, files={"one": song, "two": song})).json()["ok"]
    text = {"chat_id": str(alice.id), "text": "x"}
    answer = await api.post("sendMessage", data=text, files={"stray": song})
    assert refusal(answer) == 'Bad Request: uploaded part "stray" is not referred to'


async def test_audio_is_checked_by_its_content(api: httpx.AsyncClient, alice: User) -> None:
    for content, words in [
        (b"", "Bad Request: file must be non-empty"),
        (b"no music " * 99, "Bad Request: sendAudio takes MP3 or M4A, and this is neither"),
    ]:
        file = ("a.mp3", content, "audio/mpeg")
        answer = await api.post("sendAudio", data={"chat_id": str(alice.id)}, files={"audio": file})
        assert refusal(answer) == words


async def test_a_voice_message_is_refused_when_the_person_forbids_them(
    bot: ptb.Bot, tg: Telegram, alice: User, make_audio: Maker
) -> None:
    tg.forbid_voice(alice.id)
    with pytest.raises(ptb.error.BadRequest, match=r"(?i)VOICE_MESSAGES_FORBIDDEN"):
        await bot.send_voice(alice.id, make_audio("a.mp3"))
    await bot.send_audio(alice.id, make_audio("a.mp3"))
    tg.forbid_voice(alice.id, forbidden=False)
    await bot.send_voice(alice.id, make_audio("a.mp3"))


async def test_a_wav_is_not_audio_and_a_flac_is_not_voice(
    bot: ptb.Bot, alice: User, make_audio: Maker
) -> None:
    with pytest.raises(ptb.error.BadRequest, match=r"(?i)takes MP3 or M4A"):
        await bot.send_audio(alice.id, make_audio("a.wav"), filename="a.mp3")
    with pytest.raises(ptb.error.BadRequest, match=r"(?i)takes OGG with Opus"):
        await bot.send_voice(alice.id, make_audio("a.flac"))


async def test_thumbnails(bot: ptb.Bot, alice: User, make_audio: Maker) -> None:
    song = make_audio("a.mp3")
    for thumbnail, words in [
        (b"GIF89a", "Thumbnail is not a JPEG"),
        (jpeg_from_colour(322, 100), "Thumbnail is larger than 320×320"),
        (jpeg_from_colour(320, 320) + b"\0" * 200_000, "Thumbnail is larger than 200 kb"),
    ]:
        with pytest.raises(ptb.error.BadRequest, match=f"(?i){words}"):
            await bot.send_audio(alice.id, song, thumbnail=thumbnail)


async def test_unknown_files(api: httpx.AsyncClient, alice: User) -> None:
    for source, words in [
        ("AwACAgIAAx0", "wrong file identifier/HTTP URL specified"),
        ("https://example.org/song.mp3", "failed to get HTTP URL content"),
        ("file:///etc/hostname", "wrong file identifier/HTTP URL specified"),
    ]:
        answer = await api.post("sendAudio", data={"chat_id": str(alice.id), "audio": source})
        assert refusal(answer) == f"Bad Request: {words}"


async def test_files_too_big_to_fetch_or_to_send(
    api: httpx.AsyncClient, bot: ptb.Bot, tg: Telegram, alice: User, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)
    message = await tg.send_file(alice.id, path)
    assert message.media is not None
    with pytest.raises(ptb.error.BadRequest, match="File is too big"):
        await bot.get_file(message.media["file_id"])
    for extra in (0, 2 * 1024 * 1024):
        with path.open("r+b") as file:
            file.truncate(50 * 1024 * 1024 + 1 + extra)
        with path.open("rb") as file:
            answer = await api.post(
                "sendDocument", data={"chat_id": str(alice.id)}, files={"document": ("big.bin", file)}
            )
        assert refusal(answer, 413) == "Request Entity Too Large"


async def test_unknown_tokens_methods_and_paths(
    url: str, api: httpx.AsyncClient, tg: Telegram, new_bot: Callable[..., Any]
) -> None:
    with pytest.raises(ptb.error.InvalidToken):
        await new_bot(token="1234567:wrong-but-well-formed")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert refusal(await client.get(f"{url}/bot123:wrong/getMe"), 401) == "Unauthorized"
        assert refusal(await client.get(f"{url}/botnonsense/getMe"), 404) == "Not Found"
        assert refusal(await client.get(f"{url}/elsewhere"), 404) == "Not Found"
        path = f"{url}/file/bot{tg.token}/music/file_99.mp3"
        assert refusal(await client.get(path), 404) == "Not Found"
    for method in ("sendPhoto", "forwardMessage"):
        assert refusal(await api.post(method, data={}), 404).endswith(f"does not support the method {method}")
    assert refusal(await api.post("sendMessage", content="[", headers={"content-type": "application/json"}))


async def test_a_broken_multipart_body(api: httpx.AsyncClient, alice: User) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await api.post("sendMessage", content="no boundary here", headers=headers)
    assert "can't parse the body" in refusal(answer)


async def test_parameters_may_come_in_the_query(api: httpx.AsyncClient, alice: User) -> None:
    answer = await api.get("sendMessage", params={"chat_id": alice.id, "text": "by GET"})
    assert answer.json()["result"]["text"] == "by GET"


async def test_topics(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    forum = tg.add_group("Forum", [alice], forum=True)
    thread_id = tg.add_topic(forum.id, "songs")
    with pytest.raises(ptb.error.BadRequest, match="Message thread not found"):
        await bot.send_message(forum.id, "General has no id", message_thread_id=1)
    assert await bot.send_chat_action(forum.id, "typing", message_thread_id=1)
    tg.close_topic(forum.id, thread_id)
    with pytest.raises(ptb.error.BadRequest, match="Topic_closed"):
        await bot.send_message(forum.id, "closed", message_thread_id=thread_id)
    tg.delete_topic(forum.id, thread_id)
    with pytest.raises(ptb.error.BadRequest, match="Message thread not found"):
        await bot.send_message(forum.id, "deleted", message_thread_id=thread_id)


async def test_blocked_and_migrated(bot: ptb.Bot, tg: Telegram, alice: User) -> None:
    group = tg.add_group("Band", [alice])
    tg.block_bot(alice.id)
    with pytest.raises(ptb.error.Forbidden, match="bot was blocked by the user"):
        await bot.send_message(alice.id, "hello?")
    tg.unblock_bot(alice.id)
    await bot.send_message(alice.id, "hello again")
    new = tg.migrate_group(group.id)
    with pytest.raises(ptb.error.ChatMigrated) as moved:
        await bot.send_message(group.id, "where are you?")
    assert moved.value.new_chat_id == new.id
    assert (await bot.send_message(new.id, "here")).chat.type == "supergroup"


OTHER_METHODS: list[tuple[str, dict[str, Any], str]] = [
    ("setMyCommands", {"commands": [{"command": "Start", "description": "x"}]}, "BOT_COMMAND_INVALID"),
    (
        "setMyCommands",
        {"commands": [{"command": "start", "description": ""}]},
        "BOT_COMMAND_DESCRIPTION_INVALID",
    ),
    (
        "setMyCommands",
        {"commands": [], "scope": {"type": "everywhere"}},
        "can't parse BotCommandScope: unsupported type specified",
    ),
    ("setMyDescription", {"description": "x" * 513}, "DESCRIPTION_TOO_LONG"),
    ("setMyShortDescription", {"short_description": "x" * 121}, "SHORT_DESCRIPTION_TOO_LONG"),
    ("setMyDescription", {"language_code": "english"}, "invalid language code specified"),
    ("sendChatAction", {"action": "dancing"}, "wrong parameter action in request"),
    ("getFile", {}, "file_id not specified"),
    ("getFile", {"file_id": "x"}, "invalid file_id"),
    ("editMessageText", {"text": "x"}, "message identifier is not specified"),
    ("sendAudio", {}, "there is no audio in the request"),
]


async def test_other_methods(api: httpx.AsyncClient, alice: User) -> None:
    for method, body, words in OTHER_METHODS:
        needs_no_chat = method.startswith(("setMy", "getFile"))
        sent = body if needs_no_chat else {"chat_id": alice.id, **body}
        assert refusal(await api.post(method, json=sent)) == f"Bad Request: {words}"


@pytest.mark.parametrize(
    ("reaction", "words"),
    [
        ("✅", "Reaction_invalid"),
        (ptb.ReactionTypeCustomEmoji("5368324170671202286"), "Reaction_invalid"),
        (ptb.ReactionTypePaid(), "Reaction_invalid"),
        (["👍", "🎉"], "Reactions_too_many"),
    ],
)
async def test_reactions(bot: ptb.Bot, tg: Telegram, alice: User, reaction: Any, words: str) -> None:
    song = tg.send_text(alice.id, "song")
    with pytest.raises(ptb.error.BadRequest, match=words):
        await bot.set_message_reaction(alice.id, song.message_id, reaction)
    with pytest.raises(ptb.error.BadRequest, match="Message to react not found"):
        await bot.set_message_reaction(alice.id, 999, "👍")
    await bot.set_message_reaction(alice.id, song.message_id, "👀")
    assert song.reaction == "👀"
    await bot.set_message_reaction(alice.id, song.message_id, [])
    assert song.reaction == ""
