"""What Telegram says about the members of a chat."""

from telegram import ChatMember, ChatMemberRestricted
from telegram.constants import ChatMemberStatus


def is_in_chat(member: ChatMember) -> bool:
    """Return whether the user is in the chat now; a restricted user may have left it."""
    if isinstance(member, ChatMemberRestricted):
        return member.is_member
    return member.status not in (ChatMemberStatus.LEFT, ChatMemberStatus.BANNED)
