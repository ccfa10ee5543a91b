"""Checks the locked requirements for known vulnerabilities with pip-audit; exits with 1 if there are any.

pip-audit passes over requirements that its service does not know. This script names them loudly and does not
fail, so that it can be used offline. `OSV_URL` names a mirror of osv.dev's `/v1/query` to be asked instead.
"""
# ruff: noqa: T201 - a command that prints its result

import json
import os
import subprocess
import sys
from typing import Any

# A public service that cannot be reached must not hold up the gate; a mirror that was named is waited for.
_SERVICE_TIMEOUT_S = 25
_MIRROR_TIMEOUT_S = 300


class NotAsked(Exception):
    """A service does not answer or knows no requirement; the text says which."""


def main(lock: str) -> int:
    """Check a lock file; returns the exit code."""
    reasons = []
    for name, options in _services():
        try:
            return _report(name, _ask(lock, options))
        except NotAsked as error:
            reasons.append(f"{name}: {error}")
    line = f"not checked: {lock}: no service could be asked for known vulnerabilities ({'; '.join(reasons)})"
    print("!" * 100, line, "!" * 100, sep="\n", file=sys.stderr)
    return 0


def _services() -> list[tuple[str, list[str]]]:
    """Return the services to ask: a name and pip-audit's options for each."""
    if mirror := os.environ.get("OSV_URL"):
        return [(mirror, ["--vulnerability-service", "osv", "--osv-url", mirror])]
    return [(name, ["--vulnerability-service", name]) for name in ("pypi", "osv")]


def _ask(lock: str, options: list[str]) -> list[dict[str, Any]]:
    """Ask a service about each requirement; returns pip-audit's JSON. Raises `NotAsked`."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--disable-pip", "--format", "json"]
    limit_s = _MIRROR_TIMEOUT_S if "--osv-url" in options else _SERVICE_TIMEOUT_S
    command += ["--progress-spinner", "off", "--timeout", str(limit_s // 5), *options]
    try:
        ended = subprocess.run(  # noqa: S603 - our own command, no shell
            command, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotAsked(f"no answer in {limit_s} s") from None
    try:
        found: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NotAsked("its answer is malformed") from None
    if not any("vulns" in one for one in found):
        raise NotAsked(f"knows none of {len(found)} requirements")
    return found


def _report(service: str, found: list[dict[str, Any]]) -> int:
    unknown = [one["name"] for one in found if "vulns" not in one]
    if unknown:
        print(f"not checked: {service} does not know {', '.join(unknown)}", file=sys.stderr)
    bad = [(one, vulnerability) for one in found for vulnerability in one.get("vulns", ())]
    for one, vulnerability in bad:
        names = ", ".join([vulnerability["id"], *vulnerability.get("aliases", ())])
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"vulnerable: {one['name']} {one['version']}: {names}; fixed in {fixed}", file=sys.stderr)
    print(f"{len(found) - len(unknown)} requirements checked by {service}: {len(bad)} known vulnerabilities")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
