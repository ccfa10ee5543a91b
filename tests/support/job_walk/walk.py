"""The walk: breadth first over every state that the actions reach, and one chosen way through them."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from job_walk.invariants import sentence
from job_walk.model import Action, Moved, State
from job_walk.stored import Steps

# States whose steps are run together.
_AT_ONCE = 100


class Walkable(Protocol):
    """A model that can be walked through; the names of the product's own actions begin with one of `ours`."""

    steps: Steps
    ours: tuple[str, ...]

    async def first(self) -> State:
        """Return the first state."""

    def actions(self, state: State) -> dict[str, Action]:
        """Return the actions that may come next, by name."""

    def has_ended(self, state: State) -> bool: ...

    def violated(self, before: State, name: str, moved: Moved, *, is_known: bool) -> list[str]:
        """Return the invariants that do not hold after an action; those of states only for a new state."""


class Violated(AssertionError):
    """Invariants do not hold; the text says which, and the steps that led there."""

    def __init__(self, invariants: Sequence[str], trace: Sequence[str]) -> None:
        broken = "\n".join(f"{name}: {sentence(name)}" for name in invariants)
        steps = "\n".join(f"{number:3}. {name}" for number, name in enumerate(trace, 1))
        super().__init__(f"{broken}\nno longer after:\n{steps}")
        self.invariants = invariants


@dataclass
class Walk:
    """The states and steps that a walk has seen."""

    model: Walkable
    came_from: dict[State, tuple[State, str] | None] = field(default_factory=dict)
    edges: dict[State, set[State]] = field(default_factory=dict)  # reversed, by the product's own actions
    transitions: int = 0
    is_complete: bool = False

    @property
    def states(self) -> int:
        return len(self.came_from)

    def visit(self, state: State, name: str, moved: Moved) -> bool:
        """Note an action; returns whether it led to a new state. Raises `Violated`."""
        self.transitions += 1
        is_known = moved.state in self.came_from
        if name.startswith(self.model.ours):
            self.edges.setdefault(moved.state, set()).add(state)
        if broken := self.model.violated(state, name, moved, is_known=is_known):
            raise Violated(broken, [*self.trace(state), name])
        if not is_known:
            self.came_from[moved.state] = (state, name)
        return not is_known

    def trace(self, state: State) -> list[str]:
        """Return the names of the actions that led to a state."""
        names: list[str] = []
        while step := self.came_from[state]:
            state, name = step
            names.append(name)
        return names[::-1]

    def dead_ends(self) -> list[list[str]]:
        """Return the ways to states from which the product alone never comes to an end."""
        reached = {state for state in self.came_from if self.model.has_ended(state)}
        waiting = deque(reached)
        while waiting:
            new = self.edges.get(waiting.popleft(), set()) - reached
            reached |= new
            waiting += new
        return [self.trace(state) for state in self.came_from if state not in reached]


async def explore(model: Walkable, *, most_states: int | None = None) -> Walk:
    """Visit every state, at most about `most_states`. Raises `Violated`."""
    first = await model.first()
    walk = Walk(model, {first: None})
    waiting = deque([first])
    while waiting and (most_states is None or walk.states < most_states):
        states = [waiting.popleft() for _ in range(min(len(waiting), _AT_ONCE))]
        actions = [(state, model.actions(state)) for state in states]
        await model.steps.run_all(it.trial for _, acts in actions for it in acts.values() if it.trial)
        for state, acts in actions:
            for name, action in acts.items():
                moved = action.moved(model.steps.tried(action.trial) if action.trial else None)
                if walk.visit(state, name, moved):
                    waiting.append(moved.state)
    walk.is_complete = not waiting
    return walk


async def follow(model: Walkable, names: Iterable[str]) -> State:
    """Take these actions one after the other, without those that cannot happen. Raises `Violated`."""
    state = await model.first()
    taken: list[str] = []
    for name in names:
        if not (action := model.actions(state).get(name)):
            continue
        moved = action.moved(await model.steps.run(action.trial) if action.trial else None)
        taken.append(name)
        if broken := model.violated(state, name, moved, is_known=False):
            raise Violated(broken, taken)
        state = moved.state
    return state
