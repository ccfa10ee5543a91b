"""No secret is in a log, a chat or a request, on success, on failure, and at LOG_LEVEL=DEBUG."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

from deployment import Deployment, open_deployment
from provider import KEY

from sandbox.telegram.faults import FaultKind
from stemdrop.http.signed_links import SignedLinks

VOCALS, ALL_STEMS = 0, 1


async def stories(deployment: Deployment) -> None:
    """Success, failure, a bad day of Telegram's, a provider that repeats the key, a lost Redis."""
    provider, telegram = deployment.provider, deployment.telegram
    alice = deployment.person()
    _, menu = await alice.asks(deployment.song("Well"), ALL_STEMS)
    menu = await alice.shows(menu, "✅")
    for failure in (400, 451, 500):
        provider.failure = failure
        _, menu = await deployment.person().asks(deployment.song(f"Failure {failure}"), VOCALS)
        await alice.sees(lambda menu=menu: menu.text.startswith("⚠️"))  # type: ignore[misc]
    provider.failure = None
    provider.refusal = (401, f"the key {KEY} is wrong")
    bob = deployment.person("Bob")
    _, menu = await bob.asks(deployment.song("Wrong Key"), VOCALS)
    await bob.shows(menu, "⚠️ That did not work (code 401).")
    provider.refusal = None
    for method in ("sendMessage", "getFile", "download", "getUpdates", "sendMediaGroup", "editMessageText"):
        kind = FaultKind.SERVER_ERROR if method.startswith("send") else FaultKind.RESET_BEFORE
        telegram.faults.add(kind, method=method)
    carol = deployment.person("Carol")
    _, menu = await carol.asks(deployment.song("Bad Day"), VOCALS)
    await carol.sees(lambda: carol.current(menu).text.startswith(("✅", "⚠️")))
    telegram.faults.clear()
    provider.answers_by_itself = False
    dave = deployment.person("Dave")
    _, menu = await dave.asks(deployment.song("Blackout"), VOCALS)
    await deployment.separating()
    deployment.environment.redis.kill()
    assert (await provider.call_back()).status_code == 503
    deployment.environment.redis.start()
    assert (await provider.call_back()).status_code == 200
    menu = await dave.shows(menu, "✅")


def said(deployment: Deployment) -> str:
    """Return everything that the chats have ever shown."""
    telegram = deployment.telegram
    messages = [message for chat in telegram.chats.values() for message in chat.messages.values()]
    texts = [json.dumps(message.to_dict(), ensure_ascii=False) for message in messages]
    texts += [str(revision) for message in messages for revision in message.history]
    texts += [query.answer_text for query in telegram.queries.values()]
    return "\n".join(texts)


async def test_secrets_are_in_no_log_no_chat_and_no_request(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "up") as deployment:
        deployment.ordinary = (
            "NetworkError",
            "StoreUnavailable",
            "Redis",
            "JSON data",
            "query is too old",
            "recovery",
            "refuses this bot's key",
            "Traceback",
        )
        await stories(deployment)
        settings = deployment.environment.variables()
        password = urlsplit(settings["REDIS_URL"]).password
        assert password
        secrets = [settings["TELEGRAM_BOT_TOKEN"], settings["SECRET_KEY"], password, KEY]
        # the token's second half alone would open the bot, too
        secrets.append(settings["TELEGRAM_BOT_TOKEN"].partition(":")[2])
        secrets.append(SignedLinks(settings["SECRET_KEY"], "").updates_secret)
        logs, chats = deployment.environment.logs(), said(deployment)
        assert "DEBUG" in logs
        # anyone who has the link of a song may fetch it
        assert not re.search(r"/(source|callback)/[\w.-]{40}", logs, re.ASCII)
        assert "Wrong Key" in chats
        for secret in secrets:
            assert secret not in logs
            assert secret not in chats
        for request in deployment.provider.requests:
            outside_its_header = re.sub(rf"'authorization': 'Bearer {KEY}'", "", request)
            assert ("Bearer" in request) == ("/api/" in request.partition("?")[0])
            for secret in secrets:
                assert secret not in outside_its_header
        assert any(KEY in request for request in deployment.provider.requests)
