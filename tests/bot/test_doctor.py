"""`/doctor`: admins receive the doctor's report in the chat; other users do not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doctor_fixture import ADMIN, DoctorFixture, open_doctor_fixture
from product import BotRoom

from bot.doctor import report
from sandbox.telegram.chats import User
from stemdrop.chat.translations import load_translations
from stemdrop.doctor.report import CheckResult, Finding
from stemdrop.settings import load_settings
from stemdrop.storage.users import Users

EVERY = [Finding("Redis", f"check {number}", CheckResult.WRONG, "𝄞" * 300, "do") for number in range(99)]


@pytest.fixture
async def doctor_fixture(
    redis_url: str, tone: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DoctorFixture]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    async with open_doctor_fixture(redis_url, tone, tmp_path) as opened:
        yield opened


@pytest.fixture
async def bot_room(doctor_fixture: DoctorFixture) -> AsyncIterator[BotRoom]:
    """The bot of a healthy set-up."""
    doctor_fixture.product.settings = load_settings(doctor_fixture.environ)
    doctor_fixture.product.users = Users(doctor_fixture.product.redis, doctor_fixture.product.settings)
    application = doctor_fixture.product.application()
    await application.initialize()
    yield BotRoom(doctor_fixture.product, application)
    await application.shutdown()


async def test_the_report_lists_errors_before_warnings(
    doctor_fixture: DoctorFixture, bot_room: BotRoom
) -> None:
    """First for a healthy set-up, then for one with problems."""
    admin = bot_room.telegram.add_user("Boss", user_id=ADMIN)
    (shown,) = await bot_room.says(admin, "/doctor")
    assert shown.text.startswith("All is well.\n3")
    assert shown.text.endswith(" more checks are fine.")
    assert shown.edit_date

    await doctor_fixture.heartbeats("bot", "webhook", release="0.0.1-older")
    doctor_fixture.provider.credits = 60
    (shown,) = await bot_room.says(admin, "/doctor")
    head, worker, credits, versions, fine = shown.text.split("\n\n")
    assert head == "This needs attention:"
    assert (
        worker
        == "✗ processes, worker: none runs: nothing is submitted or delivered\n→ start it: `stemdrop worker`"
    )
    assert credits == "! separation API, credits: 60 left\n→ buy credits at the provider"
    assert versions.startswith("! processes, versions: 0.0.1-older, ")
    assert fine.endswith(" more checks are fine.")


async def test_the_doctor_in_the_bot_does_not_poll(doctor_fixture: DoctorFixture, bot_room: BotRoom) -> None:
    """Not even while Redis has no heartbeat of the bot: polling would disturb the bot itself."""
    telegram, bot = bot_room.telegram, doctor_fixture.product.bot
    await doctor_fixture.heartbeats("webhook", "worker")
    telegram.send_text(telegram.add_user("Boss", user_id=ADMIN).id, "/doctor")
    (update,) = await bot.get_updates(timeout=0)
    await bot.get_updates(offset=update.update_id + 1, timeout=0)
    calls = len(telegram.calls)
    await doctor_fixture.product.updates(bot_room.application).run(update.to_json())
    methods = [call.method for call in telegram.calls[calls:]]
    assert "getWebhookInfo" in methods
    assert "getUpdates" not in methods


async def test_users_who_are_no_admins_are_refused(private_room: BotRoom, alice: User, boss: User) -> None:
    await private_room.product.users.add(alice.id)
    (shown,) = await private_room.says(alice, "/doctor")
    assert shown.text == private_room.product.translations.languages["en"]("admin.only")


@pytest.mark.parametrize("code", load_translations().languages)
def test_a_long_report_fits_one_message(code: str) -> None:
    translate = load_translations().languages[code]
    text = report([*EVERY, Finding("machine", "clock", CheckResult.OK, "right")], translate)
    assert 3000 < len(text.encode("utf-16-le")) // 2 <= 4096
    assert text.startswith(translate("doctor.bad"))
    assert text.endswith(f"{translate('doctor.rest')}\n{translate.plural('doctor.fine', 1)}")
