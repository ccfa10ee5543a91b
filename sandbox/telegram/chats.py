"""Users, chats, topics, messages and callback queries as data, with their Bot API JSON."""

from dataclasses import dataclass, field
from typing import Any

# A member's permissions; for each one to send, Telegram's word for the content in its refusals.
PERMISSIONS = {
    "can_send_messages": "text messages",
    "can_send_audios": "music",
    "can_send_documents": "documents",
    "can_send_voice_notes": "voice notes",
    "can_send_photos": "photos",
    "can_send_videos": "videos",
    "can_send_video_notes": "video notes",
    "can_send_polls": "polls",
    "can_send_other_messages": "stickers",
    "can_add_web_page_previews": "links",
    "can_change_info": "",
    "can_invite_users": "",
    "can_pin_messages": "",
    "can_manage_topics": "",
    "can_react_to_messages": "",
    "can_edit_tag": "",
}
# The required fields of core.telegram.org/bots/api#chatmemberadministrator.
_ADMINISTRATOR_RIGHTS = (
    *("can_be_edited", "is_anonymous", "can_manage_chat", "can_delete_messages", "can_manage_video_chats"),
    *("can_restrict_members", "can_promote_members", "can_change_info", "can_invite_users"),
    *("can_post_stories", "can_edit_stories", "can_delete_stories", "can_send_welcome_messages"),
)
MEDIA_KINDS = ("audio", "voice", "video", "video_note", "document", "photo", "sticker")


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@dataclass
class User:
    id: int
    first_name: str
    is_bot: bool = False
    last_name: str | None = None
    username: str | None = None
    language_code: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return _without_none(**vars(self))


@dataclass
class Topic:
    """A forum topic. Its thread id is the message id of the service message that opened it."""

    thread_id: int
    name: str
    is_closed: bool = False
    is_deleted: bool = False


@dataclass
class Chat:
    """A private chat (its id is the user's), a group (negative), a supergroup or a channel (-100…)."""

    id: int
    type: str  # private, group, supergroup, channel
    title: str | None = None
    is_forum: bool = False
    members: dict[int, str] = field(default_factory=dict)  # user id → creator, administrator, member, left
    topics: dict[int, Topic] = field(default_factory=dict)
    messages: dict[int, "Message"] = field(default_factory=dict)
    is_general_closed: bool = False  # General, the forum's topic without a thread id
    migrated_to: int | None = None
    is_bot_out: bool = False  # the user blocked the bot, or it was removed from the group
    user: User | None = None  # of a private chat
    forbids_voice: bool = False  # a premium user's privacy setting
    forbidden: frozenset[str] = frozenset()  # permissions that its members lack, as in `PERMISSIONS`
    bot_forbidden: frozenset[str] = frozenset()  # those that the bot alone lacks
    last_message_id: int = 0  # also when that message was deleted

    def to_dict(self) -> dict[str, Any]:
        if self.user is not None:
            names = {name: getattr(self.user, name) for name in ("first_name", "last_name", "username")}
            return {"id": self.id, "type": self.type, **_without_none(**names)}
        forum = {"is_forum": True} if self.is_forum else {}
        return {"id": self.id, "type": self.type, "title": self.title, **forum}

    def member(self, user: User) -> dict[str, Any]:
        """Return the ChatMember of a person or the bot."""
        in_private = "member" if user.is_bot or user is self.user else "left"
        status = in_private if self.type == "private" else self.members.get(user.id, "left")
        owner = {"is_anonymous": False} if status == "creator" else {}
        rights = dict.fromkeys(_ADMINISTRATOR_RIGHTS, False) if status == "administrator" else {}
        if user.is_bot and status == "member" and self.bot_forbidden:
            allowed = {name: name not in self.forbidden | self.bot_forbidden for name in PERMISSIONS}
            return {
                **{"user": user.to_dict(), "status": "restricted", "is_member": True, "until_date": 0},
                **allowed,
            }
        return {"user": user.to_dict(), "status": status, **owner, **rights}


@dataclass(frozen=True)
class Revision:
    date: int
    content: dict[str, Any]
    reply_markup: dict[str, Any] | None


@dataclass
class Message:
    """One message; `content` holds its Bot API fields: text, media with a caption, or a service field."""

    message_id: int
    chat: Chat
    sender: User
    date: int
    content: dict[str, Any]
    reply_markup: dict[str, Any] | None = None
    thread_id: int | None = None
    reply_to: "Message | None" = None  # in another chat: an external reply
    media_group_id: str | None = None
    edit_date: int | None = None
    is_deleted: bool = False
    reaction: str = ""  # the bot's
    history: list[Revision] = field(default_factory=list)

    @property
    def is_from_bot(self) -> bool:
        return self.sender.is_bot

    @property
    def text(self) -> str:
        return str(self.content.get("text") or self.content.get("caption") or "")

    @property
    def kind(self) -> str:
        return next(
            (kind for kind in (*MEDIA_KINDS, "text") if kind in self.content), next(iter(self.content))
        )

    @property
    def media(self) -> dict[str, Any] | None:
        """The media object (file_id, file_name, title, …); for a photo the largest size."""
        found = self.content.get(self.kind) if self.kind in MEDIA_KINDS else None
        return found[-1] if isinstance(found, list) else found

    @property
    def keyboard(self) -> list[list[dict[str, Any]]]:
        rows: list[list[dict[str, Any]]] = (self.reply_markup or {}).get("inline_keyboard", [])
        return rows

    @property
    def buttons(self) -> list[dict[str, Any]]:
        return [button for row in self.keyboard for button in row]

    def to_dict(self, *, with_reply: bool = True) -> dict[str, Any]:
        message: dict[str, Any] = {
            **_without_none(message_id=self.message_id, date=self.date, edit_date=self.edit_date),
            **_without_none(media_group_id=self.media_group_id),
            "chat": self.chat.to_dict(),
            **self._author(),
            **self.content,
        }
        if self.thread_id is not None:
            message |= {"message_thread_id": self.thread_id, "is_topic_message": True}
        if self.reply_markup is not None and self.keyboard:
            message["reply_markup"] = self.reply_markup
        original = self.reply_to or self._topic_opening()
        if original is not None and original.chat is not self.chat:
            message["external_reply"] = original.to_external_reply()
        elif with_reply and original is not None:
            message["reply_to_message"] = original.to_dict(with_reply=False)
        return message

    def to_external_reply(self) -> dict[str, Any]:
        """Return the ExternalReplyInfo; it has the chat and message id for supergroups and channels only."""
        media = {kind: self.content[kind] for kind in (*MEDIA_KINDS, "animation") if kind in self.content}
        if self.chat.type == "channel":
            place = {"chat": self.chat.to_dict(), "message_id": self.message_id}
            return {"origin": {"type": "channel", "date": self.date, **place}, **place, **media}
        origin = {"type": "user", "date": self.date, "sender_user": self.sender.to_dict()}
        place = {"chat": self.chat.to_dict(), "message_id": self.message_id}
        return {"origin": origin, **(place if self.chat.type == "supergroup" else {}), **media}

    def _author(self) -> dict[str, Any]:
        """Return the field of the sender: the channel in a channel, else the user."""
        if self.chat.type == "channel":
            return {"sender_chat": self.chat.to_dict()}
        return {"from": self.sender.to_dict()}

    def _topic_opening(self) -> "Message | None":
        # As in Telegram, a topic's message without a reply is a reply to the message that opened the topic.
        if self.thread_id is None or self.thread_id == self.message_id:
            return None
        return self.chat.messages.get(self.thread_id)


@dataclass
class CallbackQuery:
    id: str
    user: User
    message: Message
    data: str
    date: float
    is_answered: bool = False
    answer_text: str = ""
    is_alert: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "from": self.user.to_dict(),
            "message": self.message.to_dict(),
            "chat_instance": str(abs(hash((0, self.message.chat.id)))),
            "data": self.data,
        }
