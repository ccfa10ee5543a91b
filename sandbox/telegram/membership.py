"""The people and chats of the local Telegram: who is where, with which rights."""

from collections.abc import Sequence
from typing import Any

from sandbox.telegram.chats import PERMISSIONS, Chat, Topic, User
from sandbox.telegram.errors import PersonError
from sandbox.telegram.person_texts import check_name, check_title
from sandbox.telegram.state import TelegramState

FIRST_USER_ID = 10_000_001
_USER_ID_BITS = 52  # core.telegram.org/bots/api#user


class Membership(TelegramState):
    def add_user(
        self,
        first_name: str,
        *,
        language_code: str | None = "en",
        user_id: int | None = None,
        last_name: str | None = None,
        username: str | None = None,
    ) -> User:
        """Add a person with an open private chat with the bot; the chat's id is the user's id."""
        check_name(first_name, last_name, username)
        if user_id is None:
            user_id = FIRST_USER_ID + len(self.users)
            while user_id in self.users:
                user_id += 1
        if not 0 < user_id < 2**_USER_ID_BITS:
            raise PersonError(f"a person's id is a positive number of at most {_USER_ID_BITS} bits")
        if user_id in self.users:
            raise PersonError(f"there is a user {user_id} already")
        user = User(user_id, first_name, False, last_name, username, language_code)
        self.users[user_id] = user
        self.chats[user_id] = Chat(user_id, "private", user=user)
        self.notify_change()
        return user

    def add_group(
        self, title: str, members: Sequence[User], *, supergroup: bool = False, forum: bool = False
    ) -> Chat:
        """Add a group, supergroup or forum with the bot in it; the first member owns it."""
        check_title(title)
        if not members:
            raise PersonError("a group has at least one person")
        supergroup = supergroup or forum
        number = 1_000_001 + len(self.chats)
        chat = Chat(
            -1_000_000_000_000 - number if supergroup else -number,
            "supergroup" if supergroup else "group",
            title,
            forum,
        )
        chat.members = {user.id: "member" for user in members} | {self.bot.id: "member"}
        chat.members[members[0].id] = "creator"
        self.chats[chat.id] = chat
        self.notify_change()
        return chat

    def add_channel(self, title: str, owner: User, subscribers: Sequence[User] = ()) -> Chat:
        """Add a channel whose administrator the bot is."""
        check_title(title)
        chat = Chat(-1_000_000_000_000 - 1_000_001 - len(self.chats), "channel", title)
        chat.members = {user.id: "member" for user in subscribers}
        chat.members |= {owner.id: "creator", self.bot.id: "administrator"}
        self.chats[chat.id] = chat
        self.notify_change()
        return chat

    def add_topic(self, chat_id: int, name: str) -> int:
        """Open a topic in a forum; returns its message_thread_id."""
        chat = self.chat(chat_id)
        if not chat.is_forum:
            raise PersonError("only a forum has topics")
        check_title(name)
        return self.open_topic(chat, name, self.person(chat)).thread_id

    def close_topic(self, chat_id: int, thread_id: int | None, *, closed: bool = True) -> None:
        """Close or reopen a topic (`None`: General); the bot gets TOPIC_CLOSED in a closed one."""
        chat = self.chat(chat_id)
        if thread_id is None:
            chat.is_general_closed = closed
        else:
            self._topic(chat, thread_id).is_closed = closed
        service = "forum_topic_closed" if closed else "forum_topic_reopened"
        self.post(chat, self.person(chat), {service: {}}, thread_id=thread_id)

    def delete_topic(self, chat_id: int, thread_id: int) -> None:
        chat = self.chat(chat_id)
        self._topic(chat, thread_id).is_deleted = True
        for message in chat.messages.values():
            if message.thread_id == thread_id:
                self.delete(message)

    def migrate_group(self, chat_id: int) -> Chat:
        """Upgrade a group to a supergroup with a new id and no history."""
        old = self.chat(chat_id)
        if old.type != "group" or old.migrated_to is not None:
            raise PersonError("only a group can be upgraded, and once")
        owner = self.person(old)
        members = [self.users[user_id] for user_id in old.members if user_id in self.users]
        new = self.add_group(old.title or "", members, supergroup=True)
        self.post(old, owner, {"migrate_to_chat_id": new.id})
        old.migrated_to = new.id
        self.post(new, owner, {"migrate_from_chat_id": old.id})
        return new

    def block_bot(self, chat_id: int) -> None:
        self._set_bot_out(chat_id, is_out=True)

    def unblock_bot(self, chat_id: int) -> None:
        self._set_bot_out(chat_id, is_out=False)

    def join(self, chat_id: int, user_id: int) -> Chat:
        """Let a person join a group, with the service message for that."""
        chat, user = self._group(chat_id), self.user(user_id)
        if chat.members.get(user_id, "left") == "left":
            chat.members[user_id] = "member"
            self.post(chat, user, {"new_chat_members": [user.to_dict()]})
        self.add_event(chat.id, "chat", chat.to_dict())
        return chat

    def leave(self, chat_id: int, user_id: int) -> Chat:
        """Let a person leave a group, with the service message for that. The owner cannot leave."""
        chat, user = self._group(chat_id), self.user(user_id)
        if chat.members.get(user_id) == "creator":
            raise PersonError("the owner of a group cannot leave it here")
        if user_id in chat.members:
            self.post(chat, user, {"left_chat_member": user.to_dict()})
            del chat.members[user_id]
        self.add_event(chat.id, "chat", chat.to_dict())
        return chat

    def forbid(self, chat_id: int, *permissions: str, bot_only: bool = False) -> Chat:
        """Take these permissions from a group's members, or from the bot alone, and give all others back.

        Only a change for the bot alone becomes an update.
        """
        if unknown := set(permissions) - PERMISSIONS.keys():
            raise PersonError(f"there is no permission {sorted(unknown)[0]}")
        chat = self._group(chat_id)
        if bot_only:
            old, chat.bot_forbidden = chat.member(self.bot), frozenset(permissions)
            self._change_bot(chat, old, chat.member(self.bot))
        else:
            chat.forbidden = frozenset(permissions)
        self.add_event(chat.id, "chat", chat.to_dict())
        return chat

    def set_bot_status(self, chat_id: int, status: str) -> None:
        """Make the bot an `administrator` of a group or channel, or a `member`."""
        chat = self.chat(chat_id)
        old = chat.member(self.bot)
        chat.members[self.bot.id] = status
        self._change_bot(chat, old, chat.member(self.bot))

    def forbid_voice(self, chat_id: int, *, forbidden: bool = True) -> None:
        self.chat(chat_id).forbids_voice = forbidden
        self.notify_change()

    def user(self, user_id: int) -> User:
        if user_id not in self.users:
            raise PersonError(f"there is no user {user_id}")
        return self.users[user_id]

    def person(self, chat: Chat, user_id: int | None = None) -> User:
        """Return a member of the chat: by default its person, first member, or a channel's owner."""
        if chat.user is not None:
            return chat.user
        if user_id is None:
            owners = [found for found, status in chat.members.items() if status == "creator"]
            user_id = owners[0] if chat.type == "channel" else next(iter(chat.members))
        if user_id not in self.users or user_id not in chat.members:
            raise PersonError(f"user {user_id} is not in {chat.title}")
        return self.users[user_id]

    @staticmethod
    def _topic(chat: Chat, thread_id: int) -> Topic:
        """Return an undeleted topic. Raises `PersonError` when there is none."""
        topic = chat.topics.get(thread_id)
        if topic is None or topic.is_deleted:
            raise PersonError(f"there is no topic {thread_id}")
        return topic

    def _group(self, chat_id: int) -> Chat:
        chat = self.chat(chat_id)
        if chat.type not in ("group", "supergroup"):
            raise PersonError("only a group has members")
        return chat

    def _set_bot_out(self, chat_id: int, *, is_out: bool) -> None:
        chat = self.chat(chat_id)
        if chat.is_bot_out == is_out:
            return
        chat.is_bot_out = is_out
        statuses = ["member", "kicked"] if is_out else ["kicked", "member"]
        old, new = (
            {"user": self.bot.to_dict(), "status": status} | ({"until_date": 0} if status == "kicked" else {})
            for status in statuses
        )
        self._change_bot(chat, old, new)

    def _change_bot(self, chat: Chat, old: dict[str, Any], new: dict[str, Any]) -> None:
        if old == new:
            return
        change = {
            "chat": chat.to_dict(),
            "from": self.person(chat).to_dict(),
            "date": int(self.clock()),
            "old_chat_member": old,
            "new_chat_member": new,
        }
        self.updates.add("my_chat_member", change)
        self.add_event(chat.id, "chat", change)
