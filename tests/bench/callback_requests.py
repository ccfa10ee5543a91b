"""Callbacks as they go over the wire."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from callback_bodies import callback_body
from jobs import StoredJob
from load import post
from stage import Stage

from stemdrop.http.signed_links import SignedLinks

_FORGERS_KEY = "the secret key of another server"


def callbacks_for(
    stage: Stage, jobs: Sequence[StoredJob], urls: Mapping[str, str], *, is_forged: bool = False
) -> list[bytes]:
    """One for each job, with these stems; if forged, with links of another server."""
    settings = stage.environment.variables()
    secret_key = _FORGERS_KEY if is_forged else settings["SECRET_KEY"]
    links = SignedLinks(secret_key, settings["PUBLIC_URL"])
    paths = [urlsplit(links.callback_url(job.id, job.chat_id)).path for job in jobs]
    return [post(path, callback_body(job.task_id, urls)) for path, job in zip(paths, jobs, strict=True)]
