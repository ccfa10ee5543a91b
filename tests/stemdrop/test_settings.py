"""Settings from the environment and a file; each missing or wrong one is named in one line."""

import base64
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from stemdrop.errors import SettingsError
from stemdrop.http.signed_links import SignedLinks
from stemdrop.settings import Settings, load_settings
from stemdrop.settings.unknown_names import OTHER_NAMES, PROFILES

VALID = {
    "TELEGRAM_BOT_TOKEN": "7000000001:AAabc-_123",
    "SEPARATION_API_KEY": "api-key-1",
    "SECRET_KEY": "secret-key-1",
    "PUBLIC_URL": "https://bot.example.com",
    "CALLBACK_HMAC_KEY": "hmac-key-1",
    "REDIS_URL": "redis://:redis-password@localhost:6379/0",
}
REQUIRED = ("TELEGRAM_BOT_TOKEN", "SEPARATION_API_KEY", "SECRET_KEY")


def load(env_file: Path | None = None, **changes: str) -> Settings:
    return load_settings({**VALID, **changes}, env_file)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_required_setting_is_named(name: str, value: str | None) -> None:
    environ = {key: text for key, text in VALID.items() if key != name}
    if value is not None:
        environ[name] = value
    with pytest.raises(SettingsError, match=f"^{name} is missing: "):
        load_settings(environ)


WRONG = [
    *(("TELEGRAM_BOT_TOKEN", value) for value in ("token", ":abc", "123:", "12a:abc", "1:a b", "１:a")),
    *(("SEPARATION_API_KEY", value) for value in ("a key", "clé", "key\nX-Other: 1", "key\x7f")),
    *(
        (name, value)
        for name in ("TELEGRAM_API_URL", "SEPARATION_API_URL", "SEPARATION_UPLOAD_URL", "PUBLIC_URL")
        for value in (
            *(
                "example.com",
                "ftp://example.com",
                "https://",
                "https://x/?a=b",
                "https://x/#a",
                "//x",
                "https://[",
            ),
            *("http://host:port", "http://host:99999", "http://host:-1"),
            *("https://api..example.com", "https://.example.com", f"https://{'a' * 64}.example"),
            *("https://xn--.example", "https://☃.example"),
        )
    ),
    *(
        ("REDIS_URL", value)
        for value in (
            *("localhost", "localhost:6379", "http://localhost", "redis://localhost:port/0"),
            *("redis://localhost:99999/0", "redis://localhost/0?db=x", "redis://["),
            *("redis://redis..example", f"redis://{'a' * 64}/0"),
            *("redis://", "redis://:6379/0", "redis://:word@/0", "rediss:///0", "unix://"),
        )
    ),
    *(("LISTEN_PORT", value) for value in ("x", "-1", "65536", "80.5", "８０８０x")),
    *(
        (name, value)
        for name in ("POLL_AFTER_S", "POLL_INTERVAL_S", "JOB_TIMEOUT_S")
        for value in ("0", "-1", "x", "nan", "inf", "1e9")
    ),
    *(("TELEGRAM_LOCAL_MODE", value) for value in ("maybe", "2")),
    *(("TELEGRAM_UPDATES", value) for value in ("poll", "both")),
    *(("PUBLIC_URL", value) for value in ("https://me:word@bot.example", "https://me@bot.example")),
    *(("STEM_HOSTS", value) for value in ("https://cdn.example", "cdn.example/a", "a.example, me@b.example")),
    *(("STEM_NETWORKS", value) for value in ("198.18.0.0/33", "everything", "https://198.18.0.1")),
    *(
        (name, value)
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
        for value in (
            *("socks4://proxy:1080", "ftp://proxy", "http://", "http://proxy:x", "http://proxy:99999"),
            *("proxy:3128/path", "http://[::1", "http://a b:3128", "http://..example:3128"),
        )
    ),
    *(("LOG_LEVEL", value) for value in ("LOUD", "info!", "10")),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize("name", dict(WRONG))
def test_a_wrong_setting_is_named_in_one_line(name: str) -> None:
    said = {value: refusal(**{name: value}) for known, value in WRONG if known == name}
    assert {
        value: text for value, text in said.items() if not re.fullmatch(f"{name} is wrong: .+", text)
    } == {}


def refusal(**changed: str) -> str:
    """Return what is said about wrong settings."""
    try:
        load(None, **changed)
    except SettingsError as error:
        return str(error)
    return "they are accepted"


@pytest.mark.parametrize("name", ["TELEGRAM_BOT_TOKEN", "REDIS_URL"])
def test_a_wrong_secret_does_not_appear_in_the_error(name: str) -> None:
    with pytest.raises(SettingsError) as met:
        load(None, **{name: "http://:my-password@x"})
    assert "my-password" not in str(met.value)


def test_all_errors_are_named_at_once_in_our_words() -> None:
    wrong = {"LISTEN_PORT": "70000", "ACCESS": "all", "TELEGRAM_LOCAL_MODE": "maybe", "DAILY_CREDITS": "ten"}
    with pytest.raises(SettingsError) as met:
        load_settings({**wrong, "POLL_AFTER_S": "inf", "TELEGRAM_UPDATES": "webhook", "DAILY_CREDIT": "5"})
    assert sorted(str(met.value).splitlines()) == [
        "ACCESS is wrong: must be one of: invite or open",
        "DAILY_CREDIT is no setting and has no effect: is DAILY_CREDITS meant?",
        "DAILY_CREDITS is wrong: must be a whole number",
        "LISTEN_PORT is wrong: must be at most 65535",
        "POLL_AFTER_S is wrong: must be a finite number",
        "PUBLIC_URL is missing: TELEGRAM_UPDATES=webhook needs it",
        "SECRET_KEY is missing: set it in the environment or in .env",
        "SEPARATION_API_KEY is missing: set it in the environment or in .env",
        "TELEGRAM_BOT_TOKEN is missing: set it in the environment or in .env",
        "TELEGRAM_LOCAL_MODE is wrong: must be true or false",
    ]


def test_all_that_providers_lack_is_named_at_once() -> None:
    names = " Lalal;FAL, fal\nselfhosted sk_live_hidden kie sunoapi"
    environ = {"TELEGRAM_BOT_TOKEN": "1:a", "SECRET_KEY": "s" * 16, "FAL_CREDITS_PER_MINUTE": "-1"}
    with pytest.raises(SettingsError) as met:
        load_settings({**environ, "PROVIDERS": names})
    assert str(met.value).splitlines() == [
        "SEPARATION_API_KEY is missing: PROVIDERS names sunoapi",
        "PROVIDERS is wrong: must be of sunoapi, stemsplit, lalal, fal, selfhosted, separated by commas",
        "LALAL_API_KEY is missing: PROVIDERS names lalal",
        "FAL_API_KEY is missing: PROVIDERS names fal",
        "FAL_CREDITS_PER_MINUTE is wrong: must be at least 0",
        "SELFHOSTED_API_KEY is missing: PROVIDERS names selfhosted",
    ]


@pytest.mark.parametrize("character", "#/?@")
@pytest.mark.parametrize("name", ["REDIS_URL", "HTTPS_PROXY"])
def test_an_unquoted_password_is_one_line_that_says_how_to_quote_it(name: str, character: str) -> None:
    """Also one whose first half would be taken for a port."""
    for password in (f"hid{character}den", f"12{character}34", f"12{character}3@4"):
        scheme = "redis" if name == "REDIS_URL" else "http"
        with pytest.raises(SettingsError) as met:
            load(None, **{name: f"{scheme}://:{password}@redis.example:6379"})
        line = f"{name} is wrong: quote these characters in its password: "
        assert str(met.value) == f"{line}# as %23, / as %2F, ? as %3F, @ as %40"
    quoted = f"{scheme}://:{quote('hid#/?@den', safe='')}@redis.example:6379"
    assert "hid#/?@den" in load(None, **{name: quoted}).secrets


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DAILY_CREDIT", "DAILY_CREDITS"),
        ("TELEGRAM_TOKEN", "TELEGRAM_BOT_TOKEN"),
        ("ADMIN", "ADMINS"),
        ("STEM_HOST", "STEM_HOSTS"),
        ("SEPERATION_API_URL", "SEPARATION_API_URL"),
        ("COMPOSE_PROFILE", "COMPOSE_PROFILES"),
    ],
)
def test_a_name_that_looks_like_a_setting_is_warned_of(tmp_path: Path, name: str, meant: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{name}=5\nFOO=1\nTUNNEL_TOKEN=x\nCOMPOSE_PROFILES=https,selfhosted\n")
    assert load(file).warnings == (f"{name} is no setting and has no effect: is {meant} meant?",)


def test_names_of_other_programs_are_not_warned_of() -> None:
    others = {"LOGNAME": "me", "HOSTNAME": "x", "TERM": "dumb", "LOG_LEVEL": "INFO", "HTTP_PROXY": ""}
    others |= {"PATH": "/bin", "PYTHONUNBUFFERED": "1", "LANG": "C", "HOME": "/", "USER": "me"}
    assert load(None, **others).warnings == ()


@pytest.mark.parametrize(
    ("value", "says"),
    [("selfhost", "is selfhosted meant?"), ("https, HTTP", "is https meant?"), ("blue", "there are https, ")],
)
def test_an_unknown_profile_is_warned_of(value: str, says: str) -> None:
    (warning,) = load(COMPOSE_PROFILES=value).warnings
    assert warning.startswith("COMPOSE_PROFILES: there is no profile ")
    assert says in warning


def test_the_known_profiles_and_names_are_those_of_compose() -> None:
    composed = Path("docker-compose.yml").read_text("utf-8")
    profiles = {name for it in re.findall(r"profiles: \[(.*)\]", composed) for name in it.split(", ")}
    assert set(PROFILES) == profiles
    variables = set(re.findall(r"\$\{(\w+)", composed))
    assert variables <= {*OTHER_NAMES, *(name.upper() for name in Settings.model_fields)}


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("ACCESS", "Open", "open"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_FORMAT", "JSON", "json"),
        ("TELEGRAM_UPDATES", "Polling", "polling"),
        ("ADMINS", "1;2 3,4", {1, 2, 3, 4}),
        ("STEM_HOSTS", "a.example; [::1]:9000", {"a.example", "[::1]:9000"}),
        ("STEM_NETWORKS", "198.18.0.1/15", {ip_network("198.18.0.0/15")}),
        ("HTTPS_PROXY", "proxy:3128", "http://proxy:3128"),
        ("ALL_PROXY", "socks://127.0.0.1:1080/", "socks5://127.0.0.1:1080"),
    ],
)
def test_common_spellings_are_taken(name: str, value: str, read: object) -> None:
    assert getattr(load(None, **{name: value}), name.lower()) == read


def test_proxy_variables_in_lower_case_count() -> None:
    settings = load(https_proxy="lower:1", HTTPS_PROXY="upper:1", no_proxy="a.example")
    assert (settings.https_proxy, settings.no_proxy) == ("http://lower:1", "a.example")


def test_updates_by_webhook_need_a_public_url() -> None:
    with pytest.raises(SettingsError, match=r"^PUBLIC_URL is missing: "):
        load(TELEGRAM_UPDATES="webhook", PUBLIC_URL="")
    assert load(TELEGRAM_UPDATES="webhook").telegram_updates == "webhook"


def test_an_empty_value_counts_as_unset() -> None:
    names = [name.upper() for name in Settings.model_fields if name.upper() not in VALID]
    assert load(None, **dict.fromkeys(names, "")) == load()


DEFAULTS: dict[str, Any] = {
    "telegram_api_url": "https://api.telegram.org",
    "telegram_local_mode": False,
    "telegram_updates": "polling",
    "separation_api_url": "https://api.sunoapi.org",
    "public_url": "",
    "redis_url": "redis://localhost:6379/0",
    "listen_host": "0.0.0.0",
    "listen_port": 8000,
    "poll_after_s": 120,
    "poll_interval_s": 30,
    "job_timeout_s": 1800,
    "stem_hosts": frozenset(),
    "log_level": "INFO",
    "log_format": "console",
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_defaults_stay_the_same(name: str) -> None:
    settings = load_settings({key: VALID[key] for key in REQUIRED})
    assert getattr(settings, name) == DEFAULTS[name]
    assert settings.callback_hmac_key.get_secret_value() == ""


def test_a_trailing_slash_of_a_url_is_removed() -> None:
    assert load(PUBLIC_URL="https://bot.example.com/a/").public_url == "https://bot.example.com/a"


@pytest.mark.parametrize("value", ["true", "1", "True", "yes"])
def test_local_mode_raises_the_size_limits(value: str) -> None:
    public, local = load(), load(TELEGRAM_LOCAL_MODE=value)
    assert (public.max_source_bytes, public.max_upload_bytes) == (20 * 1024**2, 50 * 1024**2)
    assert (local.max_source_bytes, local.max_upload_bytes) == (2_000_000_000, 2_000_000_000)


@pytest.mark.parametrize(
    ("api", "upload"),
    [
        ("https://api.sunoapi.org", "https://sunoapiorg.redpandaai.co"),
        ("https://api.kie.ai/", "https://kieai.redpandaai.co"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    ],
)
def test_the_upload_host_is_chosen_by_the_api_host(api: str, upload: str) -> None:
    assert load(SEPARATION_API_URL=api).upload_url == upload
    assert (
        load(SEPARATION_API_URL=api, SEPARATION_UPLOAD_URL="https://up.example").upload_url
        == "https://up.example"
    )


def test_stem_hosts_are_a_comma_separated_list() -> None:
    hosts = load(STEM_HOSTS=" Files.Example, 10.0.0.1:9000 ,,").stem_hosts
    assert hosts == {"files.example", "10.0.0.1:9000"}
    assert load().stem_hosts == frozenset()


# The file


def test_the_environment_takes_precedence_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# a comment\nLISTEN_PORT=9001\nLOG_LEVEL='DEBUG'\nSTEM_HOSTS=a.example # why\n")
    settings = load(file, LISTEN_PORT="9002", LOG_LEVEL="")
    assert (settings.listen_port, settings.log_level, settings.stem_hosts) == (9002, "DEBUG", {"a.example"})


def test_a_wrong_value_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LISTEN_PORT=x\n")
    with pytest.raises(SettingsError, match=r"^LISTEN_PORT is wrong"):
        load(file)


def test_a_missing_file_is_ignored(tmp_path: Path) -> None:
    assert load(tmp_path / "none") == load()


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes("LISTEN_PORT=9001\n".encode("utf-8-sig"))
    assert load(file).listen_port == 9001


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_named_as_that(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes("SECRET_KEY=hidden\n".encode(encoding))
    with pytest.raises(SettingsError, match=r"\.env is in UTF-16: save it as UTF-8$"):
        load(file)


def test_a_binary_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"SECRET_KEY=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env"):
        load(file)


# The mixer


@pytest.mark.parametrize(
    ("public_url", "telegram_url", "mixer_url", "sandbox_origin"),
    [
        ("https://stems.example/a", "https://api.telegram.org", "https://stems.example/a/mixer/", ""),
        ("https://[2001:db8::1]", "https://api.telegram.org", "https://[2001:db8::1]/mixer/", ""),
        ("https://stems", "https://api.telegram.org", "", ""),
        ("http://stems.example", "https://api.telegram.org", "", ""),
        ("http://webhook:8000", "http://telegram:8081", "", ""),
        ("http://127.0.0.1:8000", "https://api.telegram.org", "", ""),
        (
            "http://127.0.0.1:8000",
            "http://127.0.0.1:81",
            "http://127.0.0.1:8000/mixer/",
            "http://127.0.0.1:81",
        ),
        ("", "http://127.0.0.1:81", "", ""),
    ],
)
def test_the_mixer_has_an_address_where_telegram_accepts_its_button(
    public_url: str, telegram_url: str, mixer_url: str, sandbox_origin: str
) -> None:
    settings = load(PUBLIC_URL=public_url, TELEGRAM_API_URL=telegram_url)
    assert (settings.mixer_url, settings.sandbox_origin) == (mixer_url, sandbox_origin)


# Secrets


def test_secrets_do_not_appear_in_the_repr() -> None:
    settings = load()
    for shown in (repr(settings), str(settings)):
        for name in ("TELEGRAM_BOT_TOKEN", "SEPARATION_API_KEY", "SECRET_KEY", "CALLBACK_HMAC_KEY"):
            assert VALID[name] not in shown


def test_all_secrets_are_listed() -> None:
    """Derived ones too: the secret half of the token, and the secret of Telegram's webhook."""
    assert set(load().secrets) == {
        *(VALID[name] for name in (*REQUIRED, "CALLBACK_HMAC_KEY")),
        *("AAabc-_123", "redis-password", base64.b64encode(b":redis-password").decode()),
        SignedLinks(VALID["SECRET_KEY"], "").updates_secret,
    }


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().listen_port = 1
