"""The bot's Application: every handler, in order."""

from telegram import Update
from telegram.ext import (
    Application,
    ApplicationBuilder,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    ExtBot,
    MessageHandler,
    TypeHandler,
    filters,
)

from bot.admin import Admin
from bot.audio_check import Listener
from bot.commands import Commands
from bot.context import Context
from bot.doctor import Doctor
from bot.errors import Errors
from bot.gate import Gate
from bot.groups import GroupChats
from bot.jobs_list import JobsList
from bot.languages import Languages
from bot.menu import Menu
from bot.privacy import Privacy
from bot.uploads import Uploads
from bot.users import Users
from stemdrop.chat.callback_data import Screen
from stemdrop.chat.job_message import StatusMessage
from stemdrop.chat.telegram_bot import TelegramFiles
from stemdrop.chat.translations import Texts
from stemdrop.provider.client import SeparationClient
from stemdrop.services.orders import Orders
from stemdrop.services.result_polling import Polling
from stemdrop.settings import Settings
from stemdrop.storage.group_settings import Groups
from stemdrop.storage.job_statistics import Experience
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.stem_cache import Shelf
from stemdrop.storage.users import People
from stemdrop.tasks.engine import Engine

_SONGS = filters.AUDIO | filters.VOICE | filters.VIDEO | filters.VIDEO_NOTE | filters.Document.ALL
_NEW = filters.UpdateType.MESSAGE
_IN_GROUP = _NEW & filters.ChatType.GROUPS
# Before all others (handlers of one group exclude each other, groups do not).
_FIRST = -1


def build_application(
    settings: Settings,
    bot: ExtBot[float],
    store: JobStore,
    engine: Engine,
    people: People,
    shelf: Shelf,
    experience: Experience,
    groups: Groups,
    separation: SeparationClient,
    polling: Polling,
    files: TelegramFiles,
    status: StatusMessage,
    texts: Texts,
) -> "Application":  # type: ignore[type-arg]
    """An Application that handles updates it is given; who fetches them is `updates.py`'s concern."""
    gate = Gate(people, texts)
    orders = Orders(store, engine, shelf, experience, people, polling)
    uploads = Uploads(store, Listener(files, settings.max_source_bytes), status)
    menu = Menu(store, engine, orders, status, texts)
    commands = Commands(store, orders, people, status, texts, settings.max_source_bytes)
    jobs = JobsList(store, orders, people, status)
    languages = Languages(people, texts)
    users = Users(store, orders, people, status, settings)
    admin = Admin(store, orders, people, shelf, separation, status)
    doctor = Doctor(settings)
    privacy = Privacy(store, orders, people, shelf, status, settings)
    group_chats = GroupChats(uploads, groups, people)

    application = (
        ApplicationBuilder().bot(bot).updater(None).context_types(ContextTypes(context=Context)).build()
    )
    application.add_handler(TypeHandler(Update, gate.check), _FIRST)
    application.add_handlers(
        [
            CommandHandler("start", commands.start, _NEW),
            CommandHandler("help", commands.help, _NEW),
            CommandHandler("jobs", jobs.show, _NEW),
            CommandHandler("language", languages.ask, _NEW),
            CommandHandler("cancel", commands.cancel, _NEW),
            CommandHandler("privacy", privacy.explain, _NEW),
            CommandHandler("delete", privacy.ask, _NEW),
            CommandHandler("stems", group_chats.stems, _NEW),
            CommandHandler("users", users.command, _NEW),
            CommandHandler("admin", admin.command, _NEW),
            CommandHandler("doctor", doctor.command, _NEW),
            CallbackQueryHandler(jobs.tap, f"^{Screen.JOBS}:"),
            CallbackQueryHandler(languages.tap, f"^{Screen.LANGUAGE}:"),
            CallbackQueryHandler(privacy.tap, f"^{Screen.DELETE}:"),
            CallbackQueryHandler(group_chats.tap, f"^{Screen.GROUP}:"),
            CallbackQueryHandler(users.tap, f"^{Screen.USERS}:"),
            CallbackQueryHandler(admin.tap, f"^{Screen.ADMIN}:"),
            CallbackQueryHandler(menu.tap),
            MessageHandler(_NEW & filters.StatusUpdate.MIGRATE, group_chats.migrated),
            MessageHandler(_IN_GROUP & (_SONGS | filters.CAPTION), group_chats.song),
            MessageHandler(_IN_GROUP & filters.TEXT & ~filters.COMMAND, group_chats.talk),
            MessageHandler(_NEW & filters.ANIMATION, commands.anything),
            MessageHandler(_NEW & _SONGS, uploads.receive),
            MessageHandler(_NEW & filters.COMMAND, commands.unknown),
            MessageHandler(_NEW & ~filters.StatusUpdate.ALL, commands.anything),
        ]
    )
    application.add_error_handler(Errors(people, texts).handle)
    return application
