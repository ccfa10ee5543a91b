"""The process `stemdrop bot`: fetches updates from Telegram and handles them."""

import asyncio
import logging

from telegram.error import BadRequest, InvalidToken

from bot.app import build_bot
from bot.introduction import introduce
from bot.polling import ALLOWED_UPDATES, Poller
from bot.update_health import UpdateHealth, watch_webhook
from stemdrop.errors import SettingsError, StoreUnavailable
from stemdrop.storage.users import Users
from stemdrop.tasks.engine import Queue, Task
from stemdrop.wiring import STOP_GRACE_S, WRONG_TOKEN, Parts, call_until_done, greet_telegram

log = logging.getLogger(__name__)


async def run_bot(parts: Parts, update_health: UpdateHealth, stop: asyncio.Event) -> None:
    """Handle updates until `stop`. Raises `SettingsError` when Telegram refuses the token or the webhook."""
    bot = parts.bot
    if not await greet_telegram(bot, stop):
        return
    try:
        await parts.abilities_refresh.run()
    except StoreUnavailable as error:
        log.warning("the separation API's abilities could not be stored: %s", error)
    tasks = build_bot(parts)
    await tasks.application.initialize()
    if not await call_until_done(lambda: offer_admin_link(parts.users, bot.username), stop):
        return
    log.info("bot @%s ready, updates by %s", bot.username, parts.settings.telegram_updates)
    stop_handling = asyncio.Event()
    handling = asyncio.create_task(
        parts.engine.work(
            Queue.UPDATES,
            {
                Task.UPDATE: tasks.updates.run,
                Task.ALBUM: tasks.albums.run,
                Task.START: tasks.automatic_start.run,
            },
            stop_handling,
            given_up={Task.UPDATE: tasks.updates.give_up},
            concurrency=32,
            grace_s=STOP_GRACE_S,
        )
    )
    fetching = asyncio.create_task(_fetch_updates(parts, update_health, stop))
    # The command menu and descriptions; updates do not wait for them.
    introducing = asyncio.create_task(
        call_until_done(lambda: introduce(bot, parts.translations, parts.users), stop)
    )
    try:
        await asyncio.wait({fetching, handling}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop_handling.set()
        fetching.cancel()
        introducing.cancel()
        results = await asyncio.gather(fetching, handling, return_exceptions=True)
        await asyncio.gather(introducing, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def offer_admin_link(users: Users, bot_name: str) -> None:
    """Print a one-time link that makes the user who opens it the admin, if there is no admin yet."""
    if word := await users.first_admin_word():
        link = f"https://t.me/{bot_name}?start={word}"
        print(f"This bot has no admin yet. Open this link once to become its admin: {link}", flush=True)  # noqa: T201


async def _fetch_updates(parts: Parts, update_health: UpdateHealth, stop: asyncio.Event) -> None:
    bot = parts.bot
    if parts.settings.telegram_updates == "polling":
        await call_until_done(bot.delete_webhook, stop)
        try:
            await Poller(bot, parts.store, parts.engine, parts.dead_letters, update_health).run(stop)
        except InvalidToken as error:
            raise SettingsError(WRONG_TOKEN) from error
        return
    url, secret = parts.links.updates_url, parts.links.updates_secret
    try:
        await call_until_done(
            lambda: bot.set_webhook(url, secret_token=secret, allowed_updates=ALLOWED_UPDATES), stop
        )
    except BadRequest as error:
        raise SettingsError(f"PUBLIC_URL: Telegram refuses it for its updates: {error}") from error
    await watch_webhook(bot, url, update_health, stop)
