"""`ChatRights`: whether a group lets the bot send stems, asked before anything is paid."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from telegram import Bot, ChatMember, ChatMemberRestricted
from telegram.error import TelegramError

from stemdrop.domain.jobs import Obstacle
from stemdrop.errors import TryLater

log = logging.getLogger(__name__)

# How long a group is believed to let the bot send. A missing right is not remembered, so that one that was
# just given counts at once.
_KNOWN_S = 30.0
_MOST_KNOWN = 1000


@dataclass
class ChatRights:
    """Asks Telegram, and remembers the answers of groups that let the bot send."""

    bot: Bot
    clock: Callable[[], float] = time.time
    _fine_until: dict[int, float] = field(init=False, default_factory=dict)

    async def obstacle(self, chat_id: int) -> Obstacle | None:
        """Return what keeps stems out of this chat; `None` if no obstacle is known."""
        if chat_id > 0 or self._fine_until.get(chat_id, 0) > self.clock():
            return None
        try:
            found = await self._ask(chat_id)
        except (TelegramError, TryLater) as error:  # Telegram's answer to the stems will tell
            log.info("chat %d: the bot's rights are not known: %s", chat_id, error)
            return None
        if found is None:
            if len(self._fine_until) >= _MOST_KNOWN:
                self._fine_until.clear()
            self._fine_until[chat_id] = self.clock() + _KNOWN_S
        return found

    async def _ask(self, chat_id: int) -> Obstacle | None:
        member = await self.bot.get_chat_member(chat_id, self.bot.id)
        if member.status not in (ChatMember.MEMBER, ChatMember.RESTRICTED):
            return None
        chat = (await self.bot.get_chat(chat_id)).permissions
        rights = [it for it in (chat, member if isinstance(member, ChatMemberRestricted) else None) if it]
        if not all(it.can_send_messages for it in rights):
            return Obstacle.NO_RIGHTS
        return None if all(it.can_send_audios for it in rights) else Obstacle.NO_MUSIC
