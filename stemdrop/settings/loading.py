"""Reads the settings from the environment and `.env`, and reports all errors in them at once."""

import codecs
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stemdrop.errors import SettingsError
from stemdrop.settings.model import Settings
from stemdrop.settings.providers import KEY_SETTINGS
from stemdrop.settings.unknown_names import unknown_names
from stemdrop.settings.values import split_list

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Wrong settings are listed in this order, those that every operator sets first.
_ORDER = {
    name: number
    for number, name in enumerate(
        dict.fromkeys(("telegram_bot_token", "separation_api_key", "secret_key", *Settings.model_fields))
    )
}
_MISSING = "{} is missing: set it in the environment or in .env"
# The setting of a key → the setting that is used if it is empty.
_SHARED_KEY = {"selfhosted_api_key": "separation_api_key"}
# pydantic's type of error → what is valid.
_WORDS = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be one of: {expected}",
}


def load_settings(environ: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Read the settings from `environ`, and those that it does not set from `env_file`, if that exists.

    An empty value counts as not set: `docker compose` passes unset variables as empty ones. Raises
    `SettingsError`, with one line for each missing, wrong or mistyped setting.
    """
    from_file = _read_file(env_file)
    merged = {**from_file, **{key: value for key, value in environ.items() if value}}
    values = {name: (merged.get(name.upper()) or "").strip() for name in Settings.model_fields}
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):  # programs use both cases
        values[name] = (environ.get(name) or values[name] or from_file.get(name) or "").strip()
    warnings = unknown_names(from_file, environ, [name.upper() for name in Settings.model_fields])
    problems = []
    try:
        settings = Settings.model_validate({name: value for name, value in values.items() if value})
    except ValidationError as error:
        problems = [_in_our_words(it) for it in error.errors(include_input=False, include_url=False)]
    problems += _missing_keys(values)
    if values["telegram_updates"].lower() == "webhook" and not values["public_url"]:
        problems.append("PUBLIC_URL is missing: TELEGRAM_UPDATES=webhook needs it")
    problems.sort(key=lambda line: _ORDER.get(line.partition(" ")[0].lower(), 0))
    if problems:
        raise SettingsError("\n".join([*problems, *warnings]))
    settings._warnings = tuple(warnings)
    return settings


def _missing_keys(values: Mapping[str, str]) -> list[str]:
    """Return a line for each provider that is to be asked and has no key."""
    providers = dict.fromkeys(split_list(values["providers"].lower()))
    if not providers and not values["separation_api_key"]:
        return [_MISSING.format("SEPARATION_API_KEY")]
    return [
        f"{name.upper()} is missing: PROVIDERS names {provider}"
        for provider in providers
        if (name := KEY_SETTINGS.get(provider)) and not (values[name] or values[_SHARED_KEY.get(name, name)])
    ]


def _read_file(path: Path | None) -> dict[str, str | None]:
    """Read a `.env`; a byte order mark is skipped. Raises `SettingsError` if it is not UTF-8."""
    try:
        content = path.read_bytes() if path and path.is_file() else b""
        if content.startswith(_UTF16) or b"\0" in content[:100]:
            raise SettingsError(f"{path} is in UTF-16: save it as UTF-8")
        return dict(dotenv_values(stream=StringIO(content.decode("utf-8-sig"))))
    except UnicodeDecodeError:  # its text quotes the file
        raise SettingsError(f"{path} cannot be read: it is not in UTF-8") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {type(error).__name__}") from error


def _in_our_words(error: ErrorDetails) -> str:
    name = str(error["loc"][0]).upper()
    if error["type"] == "missing":
        return _MISSING.format(name)
    context = dict(error.get("ctx", {}))
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace("'", "")
    words = _WORDS.get(error["type"])
    problem = words.format(**context) if words else error["msg"].removeprefix("Value error, ")
    return f"{name} is wrong: {problem}"
