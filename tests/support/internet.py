"""An isolated network with its own DNS, for tests of name lookups, TLS and connections.

`play` starts this file as a program in network and mount namespaces (Linux: `unshare`): there all addresses
are on the loopback interface, `/etc/resolv.conf` names a DNS server of this file, and the product's own
fetcher downloads. No packet reaches the outside.
"""

import asyncio
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fcntl import ioctl
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from waits import WAIT_S

PUBLIC, PUBLIC_6 = "93.184.216.34", "2606:2800:220:1::1"
# Public addresses as well: nothing listens on the first two, and the third never answers.
DEAD, DEAD_6, SILENT_6 = "93.184.216.35", "2606:2800:220:1::2", "2606:2800:220:1::3"
INSIDE = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1")
CERTIFIED = "stems.test"  # and its subdomains; `self.stems.test` has a self-signed certificate

# Name → the answers to its lookups, in order, the last one repeated: addresses, or `=name` for a CNAME.
Zone = Mapping[str, Sequence[Sequence[str]]]


@dataclass
class Played:
    """One case: the text or error of each URL, and the connection attempts as `address port`."""

    outcomes: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


class NoNamespaces(Exception):
    """This machine does not permit namespaces; the text says why."""


def play(
    folder: Path, zone: Zone, cases: Mapping[str, Sequence[str]], *, api_url: str, hosts: Sequence[str]
) -> dict[str, Played]:
    """Fetch each case's URLs, in order and with one fetcher. Raises `NoNamespaces`."""
    (folder / "play.json").write_text(
        json.dumps({"zone": zone, "cases": cases, "api_url": api_url, "hosts": hosts})
    )
    outcomes = json.loads(run_inside(folder, Path(__file__)))
    return {case: Played(**played) for case, played in outcomes.items()}


def run_inside(folder: Path, program: Path) -> str:
    """Run a program in namespaces, with `folder` as its argument and DNS at 127.0.0.1; returns its output.

    `folder` holds the certificates, and `hosts` if /etc/hosts is to be replaced. Raises `NoNamespaces`.
    """
    if shutil.which("unshare") is None:
        raise NoNamespaces("there is no `unshare`")
    _write_certificates(folder)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:20 attempts:1\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = """
        for file in resolv.conf nsswitch.conf hosts; do
            [ ! -e /etc/$file ] || [ ! -e "$0/$file" ] || mount --bind "$0/$file" /etc/$file
        done
        exec "$@"
    """
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--mount",
            *as_root,
            "sh",
            "-ec",
            inside,
            folder,
            sys.executable,
            program,
            folder,
        ],
        env={**os.environ, "SSL_CERT_FILE": str(folder / "authority.pem")},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    if done.stderr.startswith(("unshare:", "mount:")):
        raise NoNamespaces(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def _write_certificates(folder: Path) -> None:
    """Create the trusted `authority.pem`, `good.pem` signed by it, and the self-signed `self.pem`."""
    sections = {
        "authority": "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign",
        "good": f"basicConstraints=CA:false\nsubjectAltName=DNS:{CERTIFIED},DNS:*.{CERTIFIED}",
        "self": f"basicConstraints=CA:false\nsubjectAltName=DNS:self.{CERTIFIED}",
    }
    identifiers = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always"
    config = "".join(f"[{name}]\n{lines}\n{identifiers}\n" for name, lines in sections.items())
    (folder / "openssl.cnf").write_text(f"[req]\ndistinguished_name=dn\n[dn]\n{config}")
    for name in sections:
        key, path = folder / f"{name}.key", folder / f"{name}.pem"
        by: list[str | Path] = []
        if name == "good":
            by = ["-CA", folder / "authority.pem", "-CAkey", folder / "authority.key"]
        command: list[str | Path] = [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "90", "-subj", f"/CN={name}", "-config", folder / "openssl.cnf"),
            *("-extensions", name, "-keyout", key, "-out", path, *by),
        ]
        subprocess.run(
            command,
            check=True,
            capture_output=True,
        )


# The rest runs in the namespaces.


def bring_up(addresses: Sequence[str]) -> None:
    """Give the loopback interface these addresses (netdevice(7), `struct in6_ifreq`), and switch it on."""
    set_flags, set_address, set_mask, is_up = 0x8914, 0x8916, 0x891C, 1

    def at(address: str) -> bytes:
        return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))

    with socket.socket(socket.AF_INET) as four, socket.socket(socket.AF_INET6) as six:
        ioctl(four, set_flags, struct.pack("16sH14x", b"lo", is_up))
        for number, address in enumerate(addresses):
            ip = ip_address(address)
            if ip.is_loopback:
                continue
            if ip.version == 6:
                index = socket.if_nametoindex("lo")
                ioctl(six, set_address, struct.pack("=16sIi", ip.packed, 128, index))
            else:
                alias = f"lo:{number}".encode()
                ioctl(four, set_address, struct.pack("16s16s", alias, at(address)))
                ioctl(four, set_mask, struct.pack("16s16s", alias, at("255.255.255.255")))

    for address in addresses:
        if ":" in address:
            _wait_for(address)


def _wait_for(address: str) -> None:
    """Wait until the kernel has finished its duplicate address detection."""
    for _ in range(1000):
        with socket.socket(socket.AF_INET6) as one, suppress(OSError):
            one.bind((address, 0))
            return
        time.sleep(0.01)
    raise TimeoutError(f"{address} does not come up")


class Names(asyncio.DatagramProtocol):
    """A DNS server (RFC 1035) for A and AAAA records with a lifetime of 0."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._asked = Counter[tuple[str, int]]()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode().lower())
            at += 1 + length
        name, kind = ".".join(labels), int.from_bytes(data[at + 1 : at + 3])
        records = self._records(name, kind)
        code = 0 if name in self._zone else 3  # there is no such name
        header = data[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(records), 0, 0)
        self._transport.sendto(header + data[12 : at + 5] + b"".join(records), addr)

    def _records(self, name: str, kind: int) -> list[bytes]:
        answers = self._zone.get(name, [[]])
        turn = self._asked[name, kind]
        self._asked[name, kind] += 1
        records = []
        for item in answers[min(turn, len(answers) - 1)]:
            if item.startswith("="):
                records += [_record(name, 5, _encoded(item[1:])), *self._records(item[1:], kind)]
            elif kind == (28 if ":" in item else 1):
                records.append(_record(name, kind, ip_address(item).packed))
        return records


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _record(name: str, kind: int, content: bytes) -> bytes:
    lifetime_s = 0
    return _encoded(name) + struct.pack(">HHIH", kind, 1, lifetime_s, len(content)) + content


class _Watch:
    """Records every TCP connection attempt, also to ports where nothing listens."""

    def __init__(self) -> None:
        everything = 0x0003
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(everything))
        self._socket.setblocking(False)
        self._seen: list[str] = []
        asyncio.get_running_loop().add_reader(self._socket, self._look)

    def taken(self) -> list[str]:
        """Return the attempts since the last call, each once."""
        self._look()
        seen, self._seen = self._seen, []
        return sorted(set(seen))

    def _look(self) -> None:
        while True:
            try:
                packet = self._socket.recv(128)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:
                protocol, address, at = packet[9], packet[16:20], 4 * (packet[0] & 0xF)
            else:
                protocol, address, at = packet[6], packet[24:40], 40
            if protocol == socket.IPPROTO_TCP and packet[at + 13] & 0x12 == 0x02:  # SYN without ACK
                port = int.from_bytes(packet[at + 2 : at + 4])
                self._seen.append(f"{ip_address(address)} {port}")


async def _answer(address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve stems. `/to?URL` redirects, `/close` closes the connection, `/close-to?URL` does both, `/break`
    does not answer. A stem's text is the server's address, the TLS server name and the Host header."""
    tls = writer.get_extra_info("ssl_object")
    try:
        while (first := await reader.readexactly(1)) != b"\x16":  # TLS at a port without it
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: "))
            if path.startswith("/break"):
                break
            stem = f"{address} {getattr(tls, 'name', None)} {host}"
            status, to = "200 OK", ""
            if "to?" in path:
                status, to = "302 Found", f"Location: {unquote(path.partition('?')[2])}\r\n"
            last = "Connection: close\r\n" if path.startswith("/close") else ""
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(stem)}\r\n{to}{last}\r\n{stem}".encode())
            if last:
                break
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a context that chooses the certificate by the server name in the TLS handshake."""
    contexts = {}
    for name in ("good", "self"):
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")

    def choose(tls: Any, name: str | None, _: ssl.SSLContext) -> None:
        tls.name = name
        if name == f"self.{CERTIFIED}":
            tls.context = contexts["self"]

    contexts["good"].sni_callback = choose
    return contexts["good"]


def never_answer(address: str, port: int) -> list[socket.socket]:
    """Return sockets that make this port neither accept nor refuse connections, while they are open."""
    listening = socket.socket(socket.AF_INET6)
    listening.bind((address, port))
    listening.listen(0)
    queue = [listening]
    while True:
        one = socket.socket(socket.AF_INET6)
        one.setblocking(False)
        one.connect_ex((address, port))
        try:
            one.getpeername()
        except OSError:  # the queue is full
            one.close()
            return queue
        queue.append(one)


async def _fetch_all(folder: Path) -> dict[str, Any]:
    import worker.stems.checked_backend
    import worker.stems.fetcher
    from stemdrop.errors import FetchFailed
    from worker.stems.address_rules import AddressRules

    worker.stems.fetcher.PAUSES_S = (0, 0, 0)
    worker.stems.fetcher.STEM_CONNECT_TIMEOUT_S = 5
    worker.stems.checked_backend.ADDRESS_TIMEOUT_S = 1
    wanted = json.loads((folder / "play.json").read_text())
    bring_up([PUBLIC, PUBLIC_6, DEAD, DEAD_6, SILENT_6, *INSIDE])
    tls = server_context(folder)
    for address in (PUBLIC, PUBLIC_6, *INSIDE):
        answer = partial(_answer, address)
        await asyncio.start_server(answer, address, 443, ssl=tls)
        for port in (80, 8000):
            await asyncio.start_server(answer, address, port)
    silent = never_answer(SILENT_6, 443)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Names(wanted["zone"]), ("127.0.0.1", 53))
    watch = _Watch()
    rules = AddressRules([wanted["api_url"]], wanted["hosts"])
    played = {}
    for case, urls in wanted["cases"].items():
        outcomes = []
        watch.taken()
        async with worker.stems.fetcher.StemFetcher(rules, 1000) as fetcher:
            for url in urls:
                target = folder / "stem"
                try:
                    await fetcher.fetch(url, target)
                    outcomes.append(target.read_text())
                except FetchFailed as error:
                    outcomes.append(f"{type(error).__name__}: {error}")
        played[case] = asdict(Played(outcomes, watch.taken()))
    for one in silent:
        one.close()
    return played


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_fetch_all(Path(sys.argv[1])))))  # noqa: T201 - read by `play`
