"""Strategies and settings for Hypothesis: a few fixed examples in the suite, many new ones in `make fuzz`."""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

# How many times as many examples as in the suite; then each run makes up others.
FUZZ = int(os.environ.get("FUZZ", "0"))

# With halves of surrogate pairs, which JSON can hold and nothing can store.
TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
SCALARS = TEXT | st.sampled_from([None, True, False, 0, -1, 0.5, 1e400, -(10**400), 2**63, 200]) | st.floats()
JSON: SearchStrategy[Any] = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(TEXT, SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
)


def mostly(usual: SearchStrategy[Any], odd: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """One in eight is odd: a body that is wrong in every place is refused at the first."""
    # in the middle, since Hypothesis prefers the edges
    return st.integers(0, 7).flatmap(lambda number: odd if number == 5 else usual)


def fuzzed(examples: int) -> settings:
    """Decorates a property."""
    return settings(
        max_examples=examples * max(1, FUZZ),
        derandomize=not FUZZ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=bool(FUZZ),
    )
