"""The product on its own, as most operators run it: no public address, a separator of its own. Its songs
outlive upgrades, `down` and `up`, kills, and more of it. Telegram runs elsewhere, as it does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import PREVIOUS, SANDBOX, Played, Stack

OVERRIDES = Path(__file__).parent
SETTINGS = SANDBOX | {
    "COMPOSE_PROFILES": "selfhosted",
    "PUBLIC_URL": "",
    "POLL_AFTER_S": "2",
    "POLL_INTERVAL_S": "2",
}
ALONE = 4 + 1  # redis, bot, webhook, worker; the separator


@pytest.fixture(scope="module")
def telegram(clone: Path) -> Iterator[Stack]:
    """A Telegram that is there all the time."""
    with Stack("telegram", clone, SANDBOX) as stack:
        stack.up("--no-deps", "sandbox")
        yield stack


@pytest.fixture(scope="module")
def product(telegram: Stack, clone: Path) -> Iterator[Stack]:
    with Stack("product", clone, SETTINGS, OVERRIDES / "telegram.yml") as stack:
        stack.up()
        yield stack


def begun(telegram: Stack, product: Stack) -> Played:
    """A song that is being taken apart."""
    accepted = product.accepted()
    song = telegram.plays()
    product.wait_until_accepted(accepted + 1)
    return song


def test_a_song_of_the_previous_version_is_delivered_by_this_one(
    telegram: Stack, product: Stack, previous: Path, clone: Path
) -> None:
    """With a separator of this one, which is not its subject."""
    product.move(previous, PREVIOUS)
    product.up("--no-deps", "redis", "bot", "webhook", "worker")
    song = begun(telegram, product)
    product.move(clone)
    product.up()
    song.arrives(2)
    assert product.states().keys() == {
        f"{product.project}-{name}-1" for name in ("redis", "bot", "webhook", "worker", "separator")
    }
    assert set(product.states().values()) == {"healthy"}


def test_songs_outlive_down_and_up(telegram: Stack, product: Stack) -> None:
    song = begun(telegram, product)
    product.compose("down")
    assert product.states() == {}
    product.up()
    song.arrives(2)


@pytest.mark.parametrize("service", ["worker", "bot", "redis", "separator", "webhook"])
def test_a_song_outlives_whoever_is_killed(telegram: Stack, product: Stack, service: str) -> None:
    song = begun(telegram, product)
    product.kill(service)
    song.arrives(2)
    product.wait_until_well()


def test_more_of_it_shares_the_work(telegram: Stack, product: Stack) -> None:
    product.up("--scale", "worker=3", "--scale", "webhook=2")
    assert len(product.states()) == ALONE + 3
    songs = [begun(telegram, product) for _ in range(3)]
    product.kill("worker")
    for song in songs:
        song.arrives(2)
    product.wait_until_well()


def test_nothing_is_roots_and_little_can_be_written(product: Stack) -> None:
    for service in ("bot", "webhook", "worker", "redis", "separator"):
        assert product.run(service, "id", "-u").strip() != "0"
        (about, *_) = product.containers(service)
        assert about["HostConfig"]["ReadonlyRootfs"]
        assert about["HostConfig"]["Memory"] > 0
        assert not about["HostConfig"]["PortBindings"]
        with pytest.raises(AssertionError, match="Read-only file system"):
            product.run(service, "touch", "/srv/here", "/usr/here")


def test_a_bot_that_hears_nothing_is_not_healthy_and_says_why(telegram: Stack, product: Stack) -> None:
    telegram.compose("stop", "sandbox")
    product.run(
        "bot", "sh", "-c", "while python -m stemdrop.observability.container_health; do sleep 1; done"
    )
    with pytest.raises(AssertionError, match="updates cannot be fetched"):
        product.run("bot", "python", "-m", "stemdrop.observability.container_health")
