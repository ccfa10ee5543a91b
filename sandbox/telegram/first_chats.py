"""The people, group and forum with topics that are there for the first person who opens the page."""

from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram


def add_first_chats(telegram: Telegram, first: User) -> None:
    """Add two more people, of whom the bot knows nothing, and chats that the first person owns."""
    ming = telegram.add_user("小明", language_code="zh-hans")
    sam = telegram.add_user("Sam", language_code="es")
    telegram.add_group("Band", [first, ming, sam])
    studio = telegram.add_group("Studio", [first, ming], forum=True)
    for topic in ("Demos", "Concerts"):
        telegram.add_topic(studio.id, topic)
