"""The images and services of docker-compose.yml: rights, limits, networks and health checks."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.download_slots import TOTAL
from stemdrop.cli import _ROLES
from stemdrop.services.disk_space import BOT_MIN_FREE_BYTES
from stemdrop.settings import load_settings
from tools.generate_settings_docs import COMPOSE

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSED: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSED["services"]
VERSION = ":${STEMDROP_VERSION:-latest}"
ROLES = {name: it for name, it in SERVICES.items() if it["image"] == f"stemdrop{VERSION}"}
PROXIES = {name: it for name, it in SERVICES.items() if it["image"] == f"stemdrop-proxy{VERSION}"}
PROFILES = {"https", "tunnel", "port", "selfhosted", "bigfiles", "sandbox"}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
STAGES = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)


def test_every_role_is_a_service_that_always_runs() -> None:
    assert ROLES.keys() == _ROLES.keys() - {"up"}
    assert all(service["command"] == [name] for name, service in ROLES.items())
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {*ROLES, "redis"}


def test_one_service_builds_the_image_of_all_roles() -> None:
    """Each build makes another image under the same name: `up` would recreate the services built earlier."""
    assert [name for name, service in ROLES.items() if "build" in service] == ["worker"]
    assert all(service["pull_policy"] == "never" for service in ROLES.values())


def test_the_profiles_are_those_that_are_told_of() -> None:
    assert {profile for service in SERVICES.values() for profile in service.get("profiles", [])} == PROFILES
    told = set(re.findall(r"^#   (\w+) ", TEXT, re.MULTILINE))
    assert told == PROFILES
    assert all(profile in COMPOSE["COMPOSE_PROFILES"] for profile in PROFILES - {"sandbox"})


def test_the_memory_of_each_profile_is_that_which_is_told_of() -> None:
    limits = dict.fromkeys(["", *PROFILES], 0)
    for service in SERVICES.values():
        number, unit = int(service["mem_limit"][:-1]), service["mem_limit"][-1]
        for profile in service.get("profiles", [""]):
            limits[profile] += number * {"m": 1, "g": 1024}[unit]
    words = {name: f"{mb // 1024} GB" if mb % 1024 == 0 else f"{mb} MB" for name, mb in limits.items()}
    page = (ROOT / "docs" / "self-hosting.md").read_text("utf-8")
    told = " ".join(page.partition("**Memory.**")[2].partition(":")[0].split())
    assert told.startswith(f"The limits in `docker-compose.yml` are {words['']} together without a profile;")
    assert words["https"] == words["port"]
    assert f"`https` and `port` add {words['port']}" in told
    assert all(f"`{name}` {words[name]}" in told for name in PROFILES - {"https", "port"})


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name in PROXIES else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    users = {"redis": "redis", "tunnel": "65532:65532", "telegram": None}  # its image says it
    assert service.get("user") == users.get(name, "10001:10001")
    assert not service.keys() & {"privileged", "pid", "network_mode", "devices"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_stays_up_and_in_its_bounds(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["logging"] == {
        "driver": "json-file",
        "options": {"max-size": "10m", "max-file": "5"},
    }
    assert service["mem_limit"]
    assert "healthcheck" in service or (name in ROLES and "HEALTHCHECK" in STAGES[-1])


def test_the_stage_that_fetches_the_model_has_what_it_imports() -> None:
    """It contains two packages: an import of another one leaves the image without the model."""
    (deployment,) = (it for it in STAGES if it.startswith("needs AS models\n"))
    assert [line for line in deployment.splitlines() if line.startswith("COPY")] == [
        "COPY separator separator",
        "COPY stemdrop/http stemdrop/http",
    ]
    assert '|| echo "WARNING: this image has NO TRAINED MODEL' in deployment
    copied, absent = ("separator", "stemdrop.http"), {"stemdrop", "bot", "worker", "webhook", "sandbox"}
    waiting, seen = ["separator.fetch_model"], set[str]()
    while waiting:
        if (name := waiting.pop()) in seen:
            continue
        seen.add(name)
        imported = _imported(name)
        ours = [it for it in imported if it.startswith(copied)]
        assert not {it.partition(".")[0] for it in imported.difference(ours)} & absent
        waiting += ours
    assert "separator.spleeter.weights" in seen


def _imported(module: str) -> set[str]:
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():  # a name in a module
        return set()
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            whole |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return whole


def test_redis_keeps_what_it_is_given_and_is_reached_by_ours_alone() -> None:
    redis = SERVICES["redis"]
    command = " ".join(redis["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert redis["networks"] == ["redis"]
    assert COMPOSED["networks"]["redis"] == {"internal": True}
    assert {name for name, it in SERVICES.items() if "redis" in it.get("networks", [])} == {
        "redis",
        "sandbox",  # whose bench reads the jobs
        *ROLES,
    }
    assert all(it["depends_on"]["redis"] == {"condition": "service_healthy"} for it in ROLES.values())


def test_no_port_is_open_but_those_of_the_profiles_that_are_there_for_it() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports.keys() == {"https", "port", "sandbox"}
    assert [port.partition(":")[0] for port in ports["https"]] == ["80", "443", "443"]
    assert all(port.startswith("127.0.0.1:") for port in (*ports["port"], *ports["sandbox"]))


def test_the_internet_reaches_its_own_paths_alone() -> None:
    caddy = (ROOT / "ops" / "Caddyfile").read_text("utf-8")
    assert re.findall(r"@(?:public|mixer) path (.+)", caddy) == [
        "/callback/* /source/* /probe/* /telegram",
        "/mixer/*",
    ]
    assert re.findall(r"@private path (.+)", caddy) == ["/healthz /readyz /metrics"]


def test_only_tmp_and_volumes_are_written_and_the_worker_has_room_for_stems() -> None:
    for name, service in ROLES.items():
        assert re.fullmatch(r"/tmp:size=\d+m", *service["tmpfs"])
        written = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
        folder = {"worker": "stems", "webhook": "segments"}.get(name, "")
        assert written == ([f"{folder}:/var/lib/stemdrop/{folder}"] if folder else [])
        assert service["environment"].get("TMPDIR", "") == (f"/var/lib/stemdrop/{folder}" if folder else "")


def test_the_bot_has_room_for_all_songs_that_it_downloads_at_once() -> None:
    (tmpfs,) = SERVICES["bot"]["tmpfs"]
    megabytes = int(re.fullmatch(r"/tmp:size=(\d+)m", tmpfs)[1])  # type: ignore[index]
    assert megabytes * 1024**2 == 2 * BOT_MIN_FREE_BYTES == 2 * TOTAL * 20 * 1024**2


def test_images_of_others_are_named_in_one_place_with_their_tags() -> None:
    pinned = COMPOSED["x-images"]
    assert all(re.fullmatch(r"[\w./-]+:[\d.]+[\w.-]*", image) for image in pinned.values())
    assert len(re.findall("|".join(map(re.escape, pinned.values())), TEXT)) == len(pinned)
    defaults = dict(re.findall(r"^ARG (\w+)_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE))
    assert {name.lower(): image for name, image in defaults.items()} == {
        name: pinned[name] for name in ("python", "caddy", "telegram")
    }


def test_the_images_are_not_roots_and_of_the_locks_files_alone() -> None:
    for deployment in (
        STAGES[-1],
        *(deployment for deployment in STAGES if "AS proxy" in deployment or "AS telegram" in deployment),
    ):
        assert re.findall(r"^USER (.+)$", deployment, re.MULTILINE) == ["10001:10001"]
    assert "--require-hashes" in DOCKERFILE
    commands = re.findall(r"\bpip\b.*? install .*?(?= && |\n|$)", DOCKERFILE.replace("\\\n", " "))
    assert len(commands) == 3
    assert all("--no-index" in command for command in commands)


def test_nothing_else_gets_into_an_image() -> None:
    """What is not named stays outside, so also an `.env`, whatever it is called."""
    first, *named = [
        line
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    taken = [line.removeprefix("!") for line in named if line.startswith("!")]
    assert [name for name in taken if not (ROOT / name).exists() or ".env" in name] == []


def test_the_settings_of_the_sandbox_are_settings() -> None:
    lines = (ROOT / ".env.sandbox").read_text("utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert values["COMPOSE_PROFILES"] == "sandbox"
    assert values["ENV_FILE"] == ".env.sandbox"
    assert values["COMPOSE_PROJECT_NAME"] != COMPOSED["name"]
    settings = load_settings(values)
    assert settings.telegram_api_url.startswith("http://sandbox:")
    assert settings.separation_api_url == f"{settings.telegram_api_url}/separation"
    separator = COMPOSED["services"]["sandbox"]["environment"]["SANDBOX_SEPARATOR_URL"]
    assert settings.stem_hosts == {separator.removeprefix("http://")}


def test_the_separator_takes_the_key_that_is_sent_to_it() -> None:
    """`SELFHOSTED_API_KEY` where it is set, as the bot's processes do (`build_providers`)."""
    key = COMPOSED["services"]["separator"]["environment"]["SEPARATION_API_KEY"]
    assert key == "${SELFHOSTED_API_KEY:-${SEPARATION_API_KEY:-}}"


def test_no_health_check_goes_by_a_proxy() -> None:
    """`docker` itself may set the variables in every container (~/.docker/config.json)."""
    checks = [str(it["healthcheck"]["test"]) for it in COMPOSED["services"].values() if "healthcheck" in it]
    assert len(checks) > 5
    for check in checks:
        assert "urlopen" not in check
        assert ("urllib" in check) == ("ProxyHandler({})" in check)
        assert ("'wget'" in check) == ("'-Y', 'off'" in check)
