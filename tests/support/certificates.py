"""Certificates for 127.0.0.1, `*.outside.example` and `*.outside.test`, and wrong ones of several kinds."""

import ssl
import subprocess
from pathlib import Path

_DAYS = {"soon": 5, "expired": -1}  # others: 90
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificates:
    """The certificates in a folder; `authority` is the file of the trusted authority (SSL_CERT_FILE)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = self._authority("authority")

    def server(self, name: str) -> ssl.SSLContext:
        """Return a server context with the certificate `name`, which is created when it is first needed."""
        if not self._path(name, "pem").exists():
            self._make(name, _DAYS.get(name, 90))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path(name, "pem"), self._path(name, "key"))
        return context

    def _path(self, name: str, extension: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}.{extension}"

    def _authority(self, name: str) -> Path:
        path = self._path(name, "pem")
        _openssl(
            *("req", "-x509", *_KEY, "-days", "90", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign", "-keyout", self._path(name, "key"), "-out", path),
        )
        return path

    def _make(self, name: str, days: int) -> None:
        """Create a certificate; only `openssl x509` accepts a negative number of days."""
        key, request, extensions = (self._path(name, extension) for extension in ("key", "csr", "cnf"))
        names = {"wrong name": "DNS:elsewhere.example", "outside": "DNS:*.outside.example,DNS:*.outside.test"}
        subject = names.get(name, "IP:127.0.0.1")
        extensions.write_text(f"subjectAltName={subject}\nbasicConstraints=CA:false\n")
        _openssl("req", "-new", *_KEY, "-subj", "/CN=webhook", "-keyout", key, "-out", request)
        issuer = "stranger" if name == "foreign" else "authority"
        if issuer == "stranger":
            self._authority(issuer)
        by: list[str | Path] = ["-CA", self._path(issuer, "pem"), "-CAkey", self._path(issuer, "key")]
        if name == "self-signed":
            by = ["-signkey", key]
        else:
            by.append("-CAcreateserial")
        end = ("-days", str(days), "-extfile", extensions, "-out", self._path(name, "pem"))
        _openssl("x509", "-req", "-in", request, *by, *end)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
