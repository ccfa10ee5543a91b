"""`make audit` fails on a known vulnerability, and says which requirements no service could check."""

import asyncio
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.environment.server import serve

AUDIT = Path(__file__).parent.parent / ".ci" / "audit.py"
BAD = {
    "id": "PYSEC-2019-217",
    "aliases": ["CVE-2019-10906"],
    "details": "A sandbox that is left.",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}],
        }
    ],
}


async def query(request: Request) -> Response:
    """osv.dev's API, which knows of one vulnerability."""
    asked = await request.json()
    known: dict[str, Any] = {"vulns": [BAD]}
    return JSONResponse(known if (asked["package"]["name"], asked["version"]) == ("jinja2", "2.10") else {})


async def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(
        "".join(f"{one} --hash=sha256:{'0' * 64}\n" for one in ("jinja2==2.10", "markupsafe==2.0"))
    )
    async with serve(Starlette(routes=[Route("/v1/query", query, methods=["POST"])])) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, AUDIT, lock),
            env={"HOME": str(tmp_path), "OSV_URL": f"{url}/v1/query"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
    assert process.returncode == 1
    assert "vulnerable: jinja2 2.10: PYSEC-2019-217, CVE-2019-10906; fixed in 2.10.1" in said
    assert "2 requirements checked by http" in said


UNKNOWN = {"name": "a", "skip_reason": "Dependency not found on PyPI"}
FINE = {"name": "b", "version": "1", "vulns": []}
VULNERABLE = {"name": "c", "version": "2", "vulns": [{"id": "X-1", "aliases": [], "fix_versions": []}]}


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ([FINE], 0, "1 requirements checked by pypi: 0 known vulnerabilities\n"),
        ([FINE, UNKNOWN], 0, "not checked: pypi does not know a\n"),
        ([VULNERABLE, UNKNOWN], 1, "vulnerable: c 2: X-1; fixed in no version yet\n"),
        ([UNKNOWN, UNKNOWN], 0, "(pypi: knows none of 2 requirements; osv: knows none of 2 requirements)"),
        (None, 0, "(pypi: its answer is malformed; osv: its answer is malformed)"),
    ],
)
def test_an_unchecked_requirement_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: list[object] | None,
    code: int,
    says: str,
) -> None:
    """Put a program in pip-audit's place that prints what it prints when the index cannot be reached."""
    said = "" if answer is None else json.dumps({"dependencies": answer, "fixes": []})
    (tmp_path / "pip_audit.py").write_text(f"import sys\nprint({said!r})\nsys.exit('broken')\n")
    monkeypatch.delenv("OSV_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert runpy.run_path(str(AUDIT))["main"](str(tmp_path / "lock")) == code
    told = "".join(capsys.readouterr())
    assert says in told
    is_loud = "!" * 100 in told and f"not checked: {tmp_path / 'lock'}: no service could be asked" in told
    assert is_loud == (answer is None or (FINE not in answer and VULNERABLE not in answer))
