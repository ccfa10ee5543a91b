"""The answer to a tap that an account cannot afford today. A pure function; no I/O."""

from stemdrop.chat.translations import Language
from stemdrop.domain.allowance import Allowance


def render_over_limit(translate: Language, allowance: Allowance) -> str:
    """Explain why a mode cannot be picked today, in the 200 characters that an answer to a tap may have."""
    price = translate.credits(allowance.price)
    if allowance.price > allowance.limit:
        return translate("limit.too_small", price=price, limit=translate.number(allowance.limit))
    return translate(
        "limit.reached",
        spent=translate.number(min(allowance.spent, allowance.limit)),
        limit=translate.number(allowance.limit),
        price=price,
        time=translate.duration(allowance.renews_in_s),
    )
