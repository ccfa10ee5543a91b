"""Buttons that open Web Apps, and what the Web App is told of the person who opened it."""

import hmac
import json
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
import telegram as ptb

from sandbox.telegram.chats import User
from sandbox.telegram.person_actions import Telegram

LAUNCH = ["tgWebAppData", "tgWebAppVersion", "tgWebAppPlatform", "tgWebAppThemeParams"]


@pytest.mark.parametrize("address", ["https://stems.example.org/a?job=1", "http://127.0.0.1:8000/#x"])
async def test_a_web_app_is_told_who_opened_it(
    chat: httpx.AsyncClient, bot: ptb.Bot, tg: Telegram, alice: User, address: str
) -> None:
    button = ptb.InlineKeyboardButton("Mixer", web_app=ptb.WebAppInfo(address))
    message = await bot.send_message(
        alice.id, "hello", reply_markup=ptb.InlineKeyboardMarkup.from_button(button)
    )
    assert message.reply_markup.inline_keyboard[0][0].web_app == ptb.WebAppInfo(address)
    tap = {"message_id": message.message_id, "url": address, "user_id": alice.id}
    opened = (await chat.post(f"{alice.id}/web-apps", json=tap)).json()["url"]
    assert opened.startswith(address)
    launch = parse_qs(urlsplit(opened).fragment)
    assert [name for name in launch if name.startswith("tg")] == LAUNCH
    assert launch["tgWebAppPlatform"] == ["web"]
    day = json.loads(launch["tgWebAppThemeParams"][0])
    by_night = (await chat.post(f"{alice.id}/web-apps", json={**tap, "is_night": True})).json()["url"]
    night = json.loads(parse_qs(urlsplit(by_night).fragment)["tgWebAppThemeParams"][0])
    assert day.keys() == night.keys()
    assert day["bg_color"] != night["bg_color"]

    signed = launch["tgWebAppData"][0]
    fields = dict(parse_qsl(signed, strict_parsing=True))
    user = {"id": alice.id, "first_name": "Alice", "language_code": "zh-hans", "allows_write_to_pm": True}
    assert json.loads(fields["user"]) == user
    assert fields["auth_date"] == str(int(tg.clock()))
    # core.telegram.org/bots/webapps, "Validating data received via the Mini App"
    received = fields.pop("hash")
    checked = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    secret = hmac.new(b"WebAppData", tg.token.encode(), "sha256").digest()
    assert hmac.new(secret, checked.encode(), "sha256").hexdigest() == received
    web_app = pytest.importorskip("aiogram.utils.web_app")
    assert web_app.check_webapp_signature(tg.token, signed)


async def test_only_a_shown_button_opens_a_web_app(
    chat: httpx.AsyncClient, bot: ptb.Bot, alice: User
) -> None:
    message = await bot.send_message(alice.id, "hello")
    for message_id in (message.message_id, 999):
        tap = {"message_id": message_id, "url": "https://stems.example.org/", "user_id": alice.id}
        answer = await chat.post(f"{alice.id}/web-apps", json=tap)
        assert answer.status_code == 400
        assert "opens no Web App" in answer.json()["error"]
