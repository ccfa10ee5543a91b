"""The chat API, `/chat/…`: people's actions over HTTP, for a page in the browser or a simulated user.

`sandbox.telegram.chat_access` checks the access. Answers are JSON; an action that no Telegram client offers,
and a malformed request, get 400 `{"error": …}`.
"""

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import FileResponse, StreamingResponse

from sandbox.bench.bench import Bench
from sandbox.telegram import bot_profile, sounds
from sandbox.telegram.bench_api import add_bench
from sandbox.telegram.chat_bodies import (
    Edit,
    Member,
    NewChannel,
    NewFile,
    NewGroup,
    NewMessage,
    NewTopic,
    NewUser,
    Restriction,
    Tap,
    WebApp,
)
from sandbox.telegram.chats import Chat, Message
from sandbox.telegram.event_stream import event_stream, position
from sandbox.telegram.first_chats import add_first_chats
from sandbox.telegram.person_actions import Telegram


def create_router(telegram: Telegram, bench: Bench | None = None) -> APIRouter:
    router = APIRouter()
    _add_overview(router, telegram)
    _add_people(router, telegram)
    _add_group_changes(router, telegram)
    _add_messages(router, telegram)
    _add_files(router, telegram)
    add_bench(router, telegram, bench)
    return router


def _add_overview(router: APIRouter, telegram: Telegram) -> None:
    @router.get("/chats")
    async def chats() -> dict[str, Any]:
        return {
            "bot": telegram.bot.to_dict(),
            "users": [user.to_dict() for user in telegram.users.values()],
            "chats": [_chat(chat) for chat in telegram.chats.values()],
            "position": position(telegram),
        }

    @router.get("/events")
    async def all_events(request: Request, after: str = "") -> StreamingResponse:
        return event_stream(telegram, request.headers.get("last-event-id") or after)

    @router.get("/{chat_id}/bot")
    async def bot(chat_id: int, user_id: int) -> dict[str, Any]:
        chat, user = telegram.chat(chat_id), telegram.user(user_id)
        return {
            "commands": bot_profile.commands(telegram, chat, user),
            "description": bot_profile.description(telegram, user),
        }


def _add_people(router: APIRouter, telegram: Telegram) -> None:
    @router.post("/users")
    async def add_user(body: NewUser) -> dict[str, Any]:
        return telegram.add_user(**body.model_dump()).to_dict()

    @router.post("/users/first")
    async def first_user(body: NewUser) -> dict[str, Any]:
        """Return the first person; if there is none, add this one and some chats, once for all pages."""
        if not telegram.users:
            add_first_chats(telegram, telegram.add_user(**body.model_dump()))
        return next(iter(telegram.users.values())).to_dict()

    @router.post("/groups")
    async def add_group(body: NewGroup) -> dict[str, Any]:
        members = [telegram.user(user_id) for user_id in body.member_ids]
        return _chat(telegram.add_group(body.title, members, supergroup=body.supergroup, forum=body.forum))

    @router.post("/channels")
    async def add_channel(body: NewChannel) -> dict[str, Any]:
        subscribers = [telegram.user(user_id) for user_id in body.subscriber_ids]
        return _chat(telegram.add_channel(body.title, telegram.user(body.owner_id), subscribers))

    @router.post("/{chat_id}/members")
    async def join(chat_id: int, body: Member) -> dict[str, Any]:
        return _chat(telegram.join(chat_id, body.user_id))

    @router.delete("/{chat_id}/members/{user_id}")
    async def leave(chat_id: int, user_id: int) -> dict[str, Any]:
        return _chat(telegram.leave(chat_id, user_id))

    @router.post("/{chat_id}/restriction")
    async def restrict(chat_id: int, body: Restriction) -> dict[str, Any]:
        return _chat(telegram.forbid(chat_id, *body.forbidden, bot_only=body.bot_only))


def _add_group_changes(router: APIRouter, telegram: Telegram) -> None:
    @router.post("/{chat_id}/topics")
    async def add_topic(chat_id: int, body: NewTopic) -> dict[str, Any]:
        return {"message_thread_id": telegram.add_topic(chat_id, body.name)}

    @router.post("/{chat_id}/topics/{thread_id}/{action}")
    async def change_topic(chat_id: int, thread_id: int, action: str) -> dict[str, Any]:
        if action == "delete":
            telegram.delete_topic(chat_id, thread_id)
        elif action in ("close", "reopen"):
            telegram.close_topic(chat_id, thread_id, closed=action == "close")
        else:
            raise HTTPException(404)
        return {}

    @router.post("/{chat_id}/block")
    @router.post("/{chat_id}/unblock")
    async def block(chat_id: int, request: Request) -> dict[str, Any]:
        is_unblock = request.url.path.endswith("/unblock")
        (telegram.unblock_bot if is_unblock else telegram.block_bot)(chat_id)
        return _chat(telegram.chat(chat_id))

    @router.post("/{chat_id}/migrate")
    async def migrate(chat_id: int) -> dict[str, Any]:
        return _chat(telegram.migrate_group(chat_id))


def _add_messages(router: APIRouter, telegram: Telegram) -> None:
    @router.get("/{chat_id}/messages")
    async def messages(chat_id: int, thread_id: int | None = None) -> dict[str, Any]:
        shown = [_message(message) for message in telegram.messages(chat_id, thread_id=thread_id)]
        return {"messages": shown, "last_event": telegram.events.last_number}

    @router.get("/{chat_id}/events")
    async def events(
        chat_id: int, after: int = 0, timeout_s: Annotated[float, Query(alias="timeout", ge=0, le=60)] = 25
    ) -> dict[str, Any]:
        found = await telegram.wait_for_events(chat_id, after, timeout_s)
        listed = [{"number": event.number, "kind": event.kind, "content": event.content} for event in found]
        return {"events": listed, "last_event": found[-1].number if found else after}

    @router.post("/{chat_id}/messages")
    async def send(chat_id: int, body: NewMessage) -> dict[str, Any]:
        place = body.model_dump(include={"user_id", "thread_id", "reply_to"})
        if body.kind == "text":
            return _message(telegram.send_text(chat_id, body.text, reply_chat_id=body.reply_chat_id, **place))
        return _message(telegram.send_other(chat_id, body.kind, **place))

    @router.patch("/{chat_id}/messages/{message_id}")
    async def edit(chat_id: int, message_id: int, body: Edit) -> dict[str, Any]:
        return _message(telegram.edit_text(chat_id, message_id, body.text))

    @router.delete("/{chat_id}/messages/{message_id}")
    async def delete(chat_id: int, message_id: int) -> dict[str, Any]:
        telegram.delete_message(chat_id, message_id)
        return {}

    @router.post("/{chat_id}/taps")
    async def tap(chat_id: int, body: Tap) -> dict[str, Any]:
        query = telegram.tap(chat_id, body.message_id, body.callback_data, user_id=body.user_id)
        return {"callback_query_id": query.id}

    @router.post("/{chat_id}/web-apps")
    async def open_web_app(chat_id: int, body: WebApp) -> dict[str, str]:
        return {"url": telegram.open_web_app(chat_id, **body.model_dump())}

    @router.get("/taps/{callback_query_id}")
    async def tapped(callback_query_id: str) -> dict[str, Any]:
        query = telegram.queries.get(callback_query_id)
        if query is None:
            raise HTTPException(404)
        return {"is_answered": query.is_answered, "text": query.answer_text, "show_alert": query.is_alert}


def _add_files(router: APIRouter, telegram: Telegram) -> None:
    outlines: dict[str, asyncio.Future[list[int]]] = {}

    @router.post("/{chat_id}/files")
    async def send_file(chat_id: int, sent: Annotated[NewFile, Form()]) -> dict[str, Any]:
        upload, source = sent.file, sent.file.file
        if sent.kind == "voice" and (upload.content_type or "").partition(";")[0] in sounds.RECORDED:
            source = await asyncio.to_thread(sounds.to_voice, source)
        place = sent.model_dump(exclude={"file"})
        message = await telegram.send_file(chat_id, source, file_name=upload.filename, **place)
        return _message(message)

    @router.get("/files/{file_id}/outline")
    async def outline(file_id: str) -> list[int]:
        """Return how loud each part of a sound is, from 0 to 255; decodes each content once."""
        content = telegram.file(file_id).content
        if content.unique_id not in outlines:
            loop = asyncio.get_running_loop()
            outlines[content.unique_id] = loop.run_in_executor(None, partial(sounds.outline, content.path))
        return await asyncio.shield(outlines[content.unique_id])

    @router.api_route("/files/{file_id}", methods=["GET", "HEAD"])
    async def download(file_id: str) -> FileResponse:
        stored = telegram.file(file_id)
        return FileResponse(
            telegram.file_location(file_id),
            media_type=stored.attributes.get("mime_type") or "application/octet-stream",
            filename=stored.attributes.get("file_name"),
            content_disposition_type="inline",
            # The browser must not run a sent file: an SVG or HTML 'song' could script our page.
            headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"},
        )


def _chat(chat: Chat) -> dict[str, Any]:
    topics = [
        {"message_thread_id": topic.thread_id, "name": topic.name, "is_closed": topic.is_closed}
        for topic in chat.topics.values()
        if not topic.is_deleted
    ]
    state = {
        "migrated_to": chat.migrated_to,
        "is_bot_out": chat.is_bot_out,
        "bot_forbidden": sorted(chat.bot_forbidden),
    }
    return {**chat.to_dict(), "member_ids": list(chat.members), "topics": topics, **state}


def _message(message: Message) -> dict[str, Any]:
    history = [
        {"date": revision.date, **revision.content, "reply_markup": revision.reply_markup}
        for revision in message.history
    ]
    return {
        **message.to_dict(),
        "is_from_bot": message.is_from_bot,
        "reaction": message.reaction,
        "history": history,
    }
