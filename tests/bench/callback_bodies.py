"""What the provider calls back, as its page has it."""

import json
from collections.abc import Mapping

TWO_STEMS = ("vocal", "instrumental")
TWELVE_STEMS = (
    *("vocal", "backing_vocals", "drums", "bass", "guitar", "keyboard"),
    *("percussion", "strings", "synth", "fx", "brass", "woodwinds"),
)


def callback_body(task_id: str, urls: Mapping[str, str]) -> bytes:
    """A success with these stems, by the provider's names."""
    info = {"origin_url": "", **{f"{name}_url": url for name, url in urls.items()}}
    data = {"task_id": task_id, "vocal_removal_info": info}
    return json.dumps({"code": 200, "msg": "vocal Removal generated successfully.", "data": data}).encode()
