"""The suite runs against the oldest and the newest Redis server that can be had."""

import pytest
from redis import Redis
from redis_servers import programs

from sandbox.environment.local_environment import LocalEnvironment
from sandbox.environment.redis_server import RedisServer

OLDEST, NEWEST = programs()[0], programs()[-1]
SUPPORTED = (6, 2)


@pytest.mark.parametrize("version", [str(OLDEST)])
def test_single_parts_are_tested_with_the_oldest(redis_server: RedisServer, version: str) -> None:
    assert OLDEST.version >= SUPPORTED
    assert version_of(redis_server) == version


@pytest.mark.parametrize("version", [str(NEWEST)])
def test_whole_stories_are_tested_with_the_newest(environment: LocalEnvironment, version: str) -> None:
    if OLDEST == NEWEST:
        pytest.skip(
            f"NOT TESTED with two servers: there is only {NEWEST} (Debian: apt-get install redis-server)"
        )
    assert version_of(environment.redis) == version


def version_of(server: RedisServer) -> str:
    """Return what the server says about itself."""
    with Redis.from_url(server.url, decode_responses=True) as client:
        told = client.info("server")
    return str(told.get("valkey_version", told["redis_version"]))
