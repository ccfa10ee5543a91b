"""Known vulnerabilities in what the lock pins: exits with 1 where there are any.

pip-audit asks. By itself it finds nothing wrong with what its service does not know; here that is said
loudly, and is no failure: who is offline must be able to work. `OSV_URL` names a mirror of osv.dev's
`/v1/query` to be asked instead.
"""
# ruff: noqa: T201 - it speaks to whoever runs it

import json
import os
import subprocess
import sys
from typing import Any

# So long for each service: a gate has to end.
_PATIENCE_S = 25


class NotAsked(Exception):
    """A service knows nothing, or does not answer; the text says why."""


def main(lock: str) -> int:
    """Report on this file of pinned requirements."""
    reasons = []
    for name, options in _services():
        try:
            return _report(name, _ask(lock, options))
        except NotAsked as error:
            reasons.append(f"{name}: {error}")
    line = f"not checked: {lock}: nobody could be asked for known vulnerabilities ({'; '.join(reasons)})"
    print("!" * 100, line, "!" * 100, sep="\n", file=sys.stderr)
    return 0


def _services() -> list[tuple[str, list[str]]]:
    """Names, and the options that choose them."""
    if mirror := os.environ.get("OSV_URL"):
        return [(mirror, ["--vulnerability-service", "osv", "--osv-url", mirror])]
    return [(name, ["--vulnerability-service", name]) for name in ("pypi", "osv")]


def _ask(lock: str, options: list[str]) -> list[dict[str, Any]]:
    """What the service says of each requirement, as pip-audit tells it in JSON."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "5", *options]
    try:
        ended = subprocess.run(  # noqa: S603 - our own command, no shell
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotAsked(f"no answer in {_PATIENCE_S} s") from None
    try:
        found: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NotAsked("it does not answer as it should") from None
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
        print(f"vulnerable: {one['name']} {one['version']}: {names}; mended in {fixed}", file=sys.stderr)
    print(f"{len(found) - len(unknown)} requirements checked by {service}: {len(bad)} known vulnerabilities")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
