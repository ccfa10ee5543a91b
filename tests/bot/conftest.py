"""The bot in process: an Application of the real parts, fed with what people do in the local Telegram."""

from collections.abc import AsyncIterator, Iterator

import pytest
from house import BotRoom, House, one_authority

from sandbox.chats import User
from sandbox.state import Telegram


@pytest.fixture(scope="package", autouse=True)
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(one_authority(tmp_path_factory.mktemp("tls"))))
        yield


@pytest.fixture
async def room(house: House) -> AsyncIterator[BotRoom]:
    application = house.application()
    await application.initialize()
    yield BotRoom(house, application)
    await application.shutdown()


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")
