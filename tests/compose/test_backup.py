"""Redis' snapshot is made and restored by the lines of docs/operations.md, word for word."""

import re
from pathlib import Path

from stack import ROOT, SANDBOX, Stack


def lines(word: str) -> str:
    """The page's commands for compose that have this word."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    (commands,) = [block for block in blocks if word in block and "docker compose" in block]
    return str(commands)


def test_a_snapshot_is_made_and_restored_as_the_page_says(clone: Path) -> None:
    with Stack("backup", clone, SANDBOX | {"COMPOSE_PROFILES": ""}) as stack:
        stack.up("redis")
        stack.run("redis", "redis-cli", "SET", "stemdrop:before", "it")
        stack.follow(lines("redis-cli --rdb"))
        stack.run("redis", "redis-cli", "SET", "stemdrop:after", "it")
        stack.follow(lines("manifest"))
        stack.up("redis")
        assert "stemdrop:before" in (cached := stack.run("redis", "redis-cli", "KEYS", "*"))
        assert "stemdrop:after" not in cached
        assert "aof_enabled:1" in stack.run("redis", "redis-cli", "INFO", "persistence")
