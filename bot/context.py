"""The context that each handler is given: the user who writes, and the language of the answer."""

from typing import Any

from telegram.ext import Application, CallbackContext, ExtBot

from stemdrop.chat.translations import FALLBACK, Language, load_translations
from stemdrop.storage.users import Person


class Context(CallbackContext[ExtBot[float], dict[Any, Any], dict[Any, Any], dict[Any, Any]]):
    """Filled in by `AccessCheck`, the first handler of every update."""

    def __init__(
        self,
        application: "Application[Any, Any, Any, Any, Any, Any]",
        chat_id: int | None = None,
        user_id: int | None = None,
    ) -> None:
        super().__init__(application, chat_id, user_id)
        self.person = Person(user_id or 0)
        self.translate: Language = load_translations().languages[FALLBACK]
