"""Misconfigured DNS, firewall and certificates of a public address with a name.

The cases run in network namespaces (`internet.py`), where this file is the program.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
from internet import (
    CERTIFIED,
    DEAD_6,
    PUBLIC,
    SILENT_6,
    Names,
    bring_up,
    never_answer,
    run_inside,
    server_context,
)
from tcp_proxy import TcpProxy

from sandbox.environment.redis_server import RedisServer
from sandbox.environment.server import serve
from stemdrop.doctor.context import CheckContext, DoctorTimeouts
from stemdrop.doctor.public_address import check_public_address
from stemdrop.doctor.report import CheckResult, Finding, SubjectReport
from stemdrop.settings import load_settings
from stemdrop.storage.connection import connect
from stemdrop.tasks.engine import Engine
from stemdrop.wiring import Parts
from webhook.app import create_app
from webhook.mixer.app import open_segments

_HOST = f"www.{CERTIFIED}"
_ZONE = {
    _HOST: [[PUBLIC]],
    "api.test": [[PUBLIC]],
    f"private.{CERTIFIED}": [["10.0.0.1"]],
    f"half.{CERTIFIED}": [[PUBLIC, DEAD_6]],
    f"firewall.{CERTIFIED}": [[SILENT_6]],
    "other.test": [[PUBLIC]],
}


@dataclass(frozen=True)
class Case:
    """Like `Misconfiguration`; `settings` are added to those that all cases share."""

    text: str
    check: str
    found: str
    advice: str
    settings: dict[str, str] = field(default_factory=dict)
    result: CheckResult = CheckResult.WRONG
    also: Sequence[str] = ()


def _at(url: str) -> dict[str, str]:
    return {"PUBLIC_URL": url}


CASES = [
    Case(
        "a name that does not resolve",
        "public address: DNS",
        "the name gone.test does not resolve",
        "correct it in PUBLIC_URL, or create its DNS record",
        _at("https://gone.test"),
    ),
    Case(
        "a name with a private address",
        "public address: DNS",
        "10.0.0.1 cannot be reached from outside",
        "point the name to this machine's public address",
        _at(f"https://private.{CERTIFIED}"),
    ),
    Case(
        "a name that this machine's `/etc/hosts` resolves to itself",
        "public address: DNS",
        f"own.{CERTIFIED} is 127.0.1.1, from this machine's /etc/hosts",
        "look it up on another machine",
        _at(f"https://own.{CERTIFIED}"),
        CheckResult.WARNING,
    ),
    Case(
        "a name with a second address where nothing listens",
        "public address: connection",
        f"{DEAD_6} port 443: nothing listens there",
        "make every address of the name lead here",
        _at(f"https://half.{CERTIFIED}"),
        CheckResult.WARNING,
    ),
    Case(
        "a firewall that drops incoming connections",
        "public address: connection",
        "no answer, as if a firewall dropped it",
        "open the port in the firewall",
        _at(f"https://firewall.{CERTIFIED}"),
    ),
    Case(
        "`http://` although the provider is elsewhere",
        "public address: PUBLIC_URL",
        "is not HTTPS",
        "serve it over HTTPS",
        _at(f"http://{_HOST}"),
    ),
    Case(
        "a port to which Telegram posts no updates, with `TELEGRAM_UPDATES=webhook`",
        "public address: PUBLIC_URL",
        "Telegram posts no updates to port 9443",
        "use port 443, 80, 88 or 8443",
        {**_at(f"https://{_HOST}:9443"), "TELEGRAM_UPDATES": "webhook"},
    ),
    Case(
        "a name that the certificate is not for",
        "public address: certificate",
        "Hostname mismatch",
        "get a certificate for exactly this name",
        _at("https://other.test"),
    ),
]
HEALTHY = "a healthy set-up"


def run(folder: Path) -> dict[str, list[Finding]]:
    """Return the doctor's findings by case. Raises `NoNamespaces`."""
    (folder / "hosts").write_text(
        f"127.0.0.1 localhost\n127.0.1.1 myself own.{CERTIFIED} # as Debian has it\n"
    )
    told = json.loads(run_inside(folder, Path(__file__)))
    return {
        text: [Finding(**{**fact, "result": CheckResult(fact["result"])}) for fact in facts]
        for text, facts in told.items()
    }


async def _run_all(folder: Path) -> dict[str, list[Finding]]:
    bring_up([PUBLIC, DEAD_6, SILENT_6, "10.0.0.1"])
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Names(_ZONE), ("127.0.0.1", 53))
    silent = never_answer(SILENT_6, 443)
    environ = {
        "TELEGRAM_BOT_TOKEN": "7000000001:AAabc-_123",
        "SEPARATION_API_URL": "https://api.test",
        "SEPARATION_API_KEY": "key",
        "SECRET_KEY": "a-secret-for-tests",
    }
    tls = server_context(folder)
    found = {}
    async with (
        RedisServer(folder / "redis") as server,
        connect(server.url) as redis,
        Engine(server.url) as engine,
        httpx.AsyncClient(trust_env=False, verify=False) as parts_http,
    ):
        environ["REDIS_URL"] = server.url
        settings = load_settings({**environ, "PUBLIC_URL": "https://x.test", "TELEGRAM_UPDATES": "webhook"})
        parts = Parts(settings, redis, engine, http=parts_http, api_http=parts_http)
        app = create_app(parts, segments=open_segments(parts))
        async with serve(app) as url, httpx.AsyncClient(trust_env=False, verify=False) as http:
            port = int(url.rpartition(":")[2])
            ways = [(PUBLIC, 443, tls), (PUBLIC, 9443, tls), (PUBLIC, 80, None), ("10.0.0.1", 443, tls)]
            ways.append(("127.0.1.1", 443, tls))
            wires = [TcpProxy(lambda: [port], tls=tls, place=(host, at)) for host, at, tls in ways]
            for wire in wires:
                await wire.listen()
            for case in [Case(HEALTHY, "", "", "", _at(f"https://{_HOST}")), *CASES]:
                settings = load_settings({**environ, **case.settings})
                notes = SubjectReport("public address")
                # only the firewall case uses them up
                timeouts = DoctorTimeouts(connect_s=1.5)
                trusted = httpx.create_ssl_context()
                await check_public_address(
                    CheckContext(settings, timeouts, redis, http, trusted, folder, heartbeats=[]), notes
                )
                found[case.text] = notes.findings
            for wire in wires:
                wire.close()
                wire.cut()
    for one in silent:
        one.close()
    return found


if __name__ == "__main__":
    findings = asyncio.run(_run_all(Path(sys.argv[1])))
    print(json.dumps({text: [asdict(it) for it in of_it] for text, of_it in findings.items()}))  # noqa: T201 - read by `run`
