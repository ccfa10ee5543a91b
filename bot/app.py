"""The bot's Application with every handler, in order, and the tasks that a bot process runs."""

from dataclasses import dataclass
from typing import Any, TypedDict

from telegram import Update
from telegram.ext import (
    Application,
    ApplicationBuilder,
    BaseHandler,
    CallbackQueryHandler,
    ChatMemberHandler,
    CommandHandler,
    ContextTypes,
    MessageHandler,
    TypeHandler,
    filters,
)

from bot.access import AccessCheck
from bot.access_requests import AccessDesk
from bot.admin import Admin
from bot.album_menu import AlbumMenu
from bot.albums import AlbumChats
from bot.audio_check import AudioCheck
from bot.automatic_start import AutomaticStart
from bot.chat_rights import ChatRights
from bot.commands import Commands
from bot.context import Context
from bot.doctor import Doctor
from bot.download_slots import DownloadSlots
from bot.errors import Apology, remember_error
from bot.groups import GroupChats
from bot.job_actions import JobActions
from bot.jobs_list import JobsList
from bot.languages import Languages
from bot.menu import Menu
from bot.privacy import DELETE_WORD, PRIVACY_WORD, Privacy
from bot.provider_lines import ProviderLines
from bot.remix_desk import RemixDesk
from bot.requests_screen import RequestsScreen
from bot.settings_screen import SettingsScreen
from bot.song_pictures import SongPictures
from bot.updates import UpdateHandler
from bot.uploads import Uploads
from bot.users import UsersCommand
from stemdrop.chat.callback_data import Screen
from stemdrop.provider.registry import provider_titles
from stemdrop.storage.job_store import JobStore
from stemdrop.storage.users import Users
from stemdrop.wiring import Parts

_SONGS = filters.AUDIO | filters.VOICE | filters.VIDEO | filters.VIDEO_NOTE | filters.Document.ALL
_NEW = filters.UpdateType.MESSAGE
_POST = filters.UpdateType.CHANNEL_POST
_IN_GROUP = (_NEW & filters.ChatType.GROUPS) | _POST
_EDITED = (
    filters.UpdateType.EDITED_MESSAGE & filters.ChatType.GROUPS
) | filters.UpdateType.EDITED_CHANNEL_POST
_EDITED_IN_PRIVATE = filters.UpdateType.EDITED_MESSAGE & filters.ChatType.PRIVATE
# The library's handler group that runs before all others; of each group only the first match runs.
_FIRST = -1


_Handler = BaseHandler[Any, Context, Any]


class _Shared(TypedDict):
    store: JobStore
    actions: JobActions
    users: Users


@dataclass(frozen=True)
class BotTasks:
    """The tasks of one bot process: `UPDATE`, `ALBUM` and `START`."""

    application: "Application"  # type: ignore[type-arg]
    updates: UpdateHandler
    albums: AlbumChats
    automatic_start: AutomaticStart


def build_bot(parts: Parts) -> BotTasks:
    """Build the tasks. Single songs and albums share the download slots of the process."""
    albums = build_albums(parts)
    application = build_application(parts, albums)
    updates = UpdateHandler(application, parts.dead_letters, Apology(parts.users, parts.translations))
    return BotTasks(application, updates, albums, build_automatic_start(parts))


def build_albums(parts: Parts) -> AlbumChats:
    """Build the handlers of albums, and the task `ALBUM`."""
    store, rights = parts.store, ChatRights(parts.bot, parts.clock)
    audio_check = AudioCheck(parts.files, parts.settings.max_source_bytes)
    return AlbumChats(
        albums=parts.albums,
        store=store,
        engine=parts.engine,
        uploads=Uploads(
            store, parts.engine, audio_check, DownloadSlots(), parts.job_message, rights, parts.clock
        ),
        menu=AlbumMenu(
            albums=parts.albums,
            store=store,
            actions=JobActions(store, parts.orders, parts.job_message),
            users=parts.users,
            translations=parts.translations,
            rights=rights,
        ),
        translations=parts.translations,
        clock=parts.clock,
    )


def build_automatic_start(parts: Parts) -> AutomaticStart:
    """Build the task `START`."""
    actions = JobActions(parts.store, parts.orders, parts.job_message)
    webhooks = parts.heartbeats if parts.settings.telegram_updates == "webhook" else None
    return AutomaticStart(parts.store, actions, parts.translations, webhooks, parts.clock)


def build_application(parts: Parts, albums: AlbumChats) -> "Application":  # type: ignore[type-arg]
    """Build the Application, which handles the updates that `UpdateHandler` passes to it."""
    settings, store, users, translations = parts.settings, parts.store, parts.users, parts.translations
    actions = JobActions(store, parts.orders, parts.job_message)
    shared: _Shared = {"store": store, "actions": actions, "users": users}
    uploads, rights = albums.uploads, albums.uploads.rights
    menu = Menu(store, parts.engine, parts.orders, parts.job_message, translations, rights)
    privacy = _build_privacy(parts, shared, albums.menu)
    desk = AccessDesk(users, parts.access_requests, parts.alerts, translations, parts.engine, parts.clock)
    commands = Commands(
        **shared,
        desk=desk,
        album_menu=albums.menu,
        remixes=parts.remixes,
        remixing=parts.remixing,
        translations=translations,
        max_bytes=settings.max_source_bytes,
        abilities=parts.abilities,
        of_words={PRIVACY_WORD: privacy.explain, DELETE_WORD: privacy.ask},
    )
    group_chats = GroupChats(uploads, albums, parts.group_settings, users, rights, store, parts.orders)
    application = (
        ApplicationBuilder().bot(parts.bot).updater(None).context_types(ContextTypes(context=Context)).build()
    )
    application.add_handler(TypeHandler(Update, AccessCheck(users, desk, translations).check), _FIRST)
    application.add_handlers(
        [
            *_screens(parts, shared, privacy),
            *_admin_screens(parts, shared, desk),
            CommandHandler("start", commands.start, _NEW),
            CommandHandler("help", commands.help, _NEW),
            CommandHandler("cancel", commands.cancel, _NEW),
            CommandHandler("stems", group_chats.stems, _NEW | _POST),
            CallbackQueryHandler(group_chats.tap, f"^{Screen.GROUP}:"),
            CallbackQueryHandler(albums.menu.tap, f"^{Screen.ALBUM}:"),
            CallbackQueryHandler(_build_remix_desk(parts, rights).tap, f"^{Screen.REMIX}:"),
            CallbackQueryHandler(menu.tap),
            ChatMemberHandler(group_chats.joined, ChatMemberHandler.MY_CHAT_MEMBER),
            MessageHandler(_NEW & filters.StatusUpdate.MIGRATE, group_chats.migrated),
            MessageHandler(_NEW & filters.StatusUpdate.FORUM_TOPIC_REOPENED, group_chats.reopened),
            MessageHandler(_IN_GROUP & (_SONGS | filters.CAPTION), group_chats.song),
            MessageHandler(_IN_GROUP & filters.TEXT & ~filters.COMMAND, group_chats.talk),
            MessageHandler(_EDITED, group_chats.edited),
            MessageHandler(_EDITED_IN_PRIVATE & _SONGS, uploads.edited),
            MessageHandler(_NEW & filters.ANIMATION, commands.anything),
            MessageHandler(_NEW & _SONGS, albums.receive),
            MessageHandler(_NEW & filters.COMMAND, commands.unknown),
            MessageHandler(_NEW & ~filters.StatusUpdate.ALL, commands.anything),
        ]
    )
    application.add_error_handler(remember_error)
    return application


def _build_remix_desk(parts: Parts, rights: ChatRights) -> RemixDesk:
    return RemixDesk(
        store=parts.store,
        remixes=parts.remixes,
        remixing=parts.remixing,
        users=parts.users,
        abilities=parts.abilities,
        translations=parts.translations,
        rights=rights,
        pictures=SongPictures(parts.song_measures),
    )


def _build_privacy(parts: Parts, shared: _Shared, album_menu: AlbumMenu) -> Privacy:
    return Privacy(
        **shared,
        requests=parts.access_requests,
        album_menu=album_menu,
        stem_cache=parts.stem_cache,
        remixes=parts.remixes,
        job_message=parts.job_message,
        settings=parts.settings,
        abilities=parts.abilities,
    )


def _screens(parts: Parts, shared: _Shared, privacy: Privacy) -> list[_Handler]:
    """Build the handlers of the screens that every user has: their commands and their buttons."""
    jobs = JobsList(**shared, abilities=parts.abilities)
    languages = Languages(parts.users, parts.translations)
    settings = SettingsScreen(parts.users, parts.abilities)
    return [
        CommandHandler("jobs", jobs.show, _NEW),
        CommandHandler("language", languages.ask, _NEW),
        CommandHandler("settings", settings.ask, _NEW),
        CommandHandler("privacy", privacy.explain, _NEW),
        CommandHandler("delete", privacy.ask, _NEW),
        CallbackQueryHandler(jobs.tap, f"^{Screen.JOBS}:"),
        CallbackQueryHandler(languages.tap, f"^{Screen.LANGUAGE}:"),
        CallbackQueryHandler(settings.tap, f"^{Screen.SETTINGS}:"),
        CallbackQueryHandler(privacy.tap, f"^{Screen.DELETE}:"),
    ]


def _admin_screens(parts: Parts, shared: _Shared, desk: AccessDesk) -> list[_Handler]:
    users = UsersCommand(**shared, desk=desk, settings=parts.settings)
    requests = RequestsScreen(parts.users, parts.access_requests, desk)
    providers, abilities = parts.providers, parts.abilities
    lines = ProviderLines(
        providers=providers,
        abilities=abilities,
        circuits=parts.circuits,
        counters=parts.counters,
        titles=provider_titles(parts.settings),
    )
    admin = Admin(
        **shared,
        stem_cache=parts.stem_cache,
        providers=providers,
        abilities=abilities,
        provider_lines=lines,
    )
    return [
        CommandHandler("users", users.command, _NEW),
        CommandHandler("admin", admin.command, _NEW),
        CommandHandler("doctor", Doctor(parts.settings).command, _NEW),
        CallbackQueryHandler(users.tap, f"^{Screen.USERS}:"),
        CallbackQueryHandler(requests.tap, f"^{Screen.REQUESTS}:"),
        CallbackQueryHandler(admin.tap, f"^{Screen.ADMIN}:"),
    ]
