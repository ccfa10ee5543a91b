"""The bot's Application: every handler, in order."""

from telegram.ext import (
    Application,
    ApplicationBuilder,
    CallbackQueryHandler,
    CommandHandler,
    ExtBot,
    MessageHandler,
    filters,
)

from bot.commands import Commands
from bot.errors import Errors
from bot.listening import Listener
from bot.menu import Menu
from bot.uploads import Uploads
from stemdrop.engine import Engine
from stemdrop.settings import Settings
from stemdrop.status import StatusMessage
from stemdrop.store import JobStore
from stemdrop.telegram import TelegramFiles
from stemdrop.texts import Texts

_SONGS = filters.AUDIO | filters.VOICE | filters.VIDEO | filters.VIDEO_NOTE | filters.Document.ALL
_NEW = filters.UpdateType.MESSAGE


def build_application(
    settings: Settings,
    bot: ExtBot[float],
    store: JobStore,
    engine: Engine,
    files: TelegramFiles,
    status: StatusMessage,
    texts: Texts,
) -> "Application":  # type: ignore[type-arg]
    """An Application that handles updates it is given; who fetches them is `updates.py`'s concern."""
    uploads = Uploads(store, Listener(files, settings.max_source_bytes), status, texts)
    menu = Menu(store, engine, status, texts)
    commands = Commands(store, status, texts, settings.max_source_bytes)

    application = ApplicationBuilder().bot(bot).updater(None).build()
    application.add_handlers(
        [
            CommandHandler("start", commands.start, _NEW),
            CommandHandler("help", commands.help, _NEW),
            CommandHandler("cancel", commands.cancel, _NEW),
            CallbackQueryHandler(menu.tap),
            MessageHandler(_NEW & filters.ANIMATION, commands.anything),
            MessageHandler(_NEW & _SONGS, uploads.receive),
            MessageHandler(_NEW & filters.COMMAND, commands.unknown),
            MessageHandler(_NEW & ~filters.StatusUpdate.ALL, commands.anything),
        ]
    )
    application.add_error_handler(Errors(texts).handle)
    return application
