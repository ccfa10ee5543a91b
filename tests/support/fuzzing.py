"""Strategies and settings for Hypothesis: a few fixed examples in the suite, many new ones in `make fuzz`."""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.internal import entropy
from hypothesis.internal.conjecture import providers
from hypothesis.strategies import SearchStrategy

# The multiple of the suite's number of examples; unless it is 0, each run makes up new ones.
FUZZ = int(os.environ.get("FUZZ", "0"))
if not FUZZ:
    # else Hypothesis parses all imported modules for constants: that takes each process up to a second, and
    # makes the examples depend on what was imported before
    providers._get_local_constants = lambda: providers._local_constants


def _register(r: entropy.RandomLike) -> None:
    """Register a thread's random numbers without collecting all garbage before."""
    entropy.RANDOMS_TO_MANAGE[next(entropy._RKEY)] = r


entropy.register_random = _register

# With lone surrogates, which JSON can hold and nothing can store.
TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
SCALARS = TEXT | st.sampled_from([None, True, False, 0, -1, 0.5, 1e400, -(10**400), 2**63, 200]) | st.floats()
JSON: SearchStrategy[Any] = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(TEXT, SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
)


def mostly(usual: SearchStrategy[Any], odd: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Draw one in eight from `odd`: a body that is wrong in every place is refused at the first."""
    # in the middle, since Hypothesis prefers the edges
    return st.integers(0, 7).flatmap(lambda number: odd if number == 5 else usual)


def fuzzed(examples: int) -> settings:
    """Return the settings with which a property is decorated."""
    return settings(
        max_examples=examples * max(1, FUZZ),
        derandomize=not FUZZ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=bool(FUZZ),
    )
