"""The bodies of requests to the chat API."""

import json
from typing import Any

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, model_validator


def _file_name(upload: Any) -> str | None:
    return getattr(upload, "filename", None)


class Body(BaseModel):
    """A body without unknown fields and without lone surrogates, which JSON could contain."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_halves(cls, values: Any) -> Any:
        try:
            json.dumps(values, ensure_ascii=False, default=_file_name).encode()
        except UnicodeEncodeError:
            raise ValueError("a text contains half a character") from None
        return values


class NewUser(Body):
    first_name: str
    language_code: str | None = "en"
    user_id: int | None = None
    last_name: str | None = None
    username: str | None = None


class NewGroup(Body):
    title: str
    member_ids: list[int]
    supergroup: bool = False
    forum: bool = False


class NewChannel(Body):
    title: str
    owner_id: int
    subscriber_ids: list[int] = []


class Member(Body):
    user_id: int


class Restriction(Body):
    """The permissions of `chats.PERMISSIONS` that members, or the bot alone, do not have."""

    forbidden: list[str]
    bot_only: bool = False


class NewTopic(Body):
    name: str


class NewMessage(Body):
    """`kind` is text, photo, sticker, location, contact or dice; only the first has a text."""

    kind: str = "text"
    text: str = ""
    user_id: int | None = None
    thread_id: int | None = None
    reply_to: int | None = None
    reply_chat_id: int | None = None


class NewFile(Body):
    file: UploadFile
    kind: str | None = None
    caption: str = ""
    user_id: int | None = None
    thread_id: int | None = None
    reply_to: int | None = None
    media_group_id: str | None = None


class Edit(Body):
    text: str


class WebApp(Body):
    """`is_night` chooses the theme colours that the Web App gets."""

    message_id: int
    url: str
    user_id: int | None = None
    is_night: bool = False


class Tap(Body):
    message_id: int
    callback_data: str
    user_id: int | None = None
