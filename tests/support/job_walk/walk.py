"""The walk: breadth first over every world that the actions reach, and one chosen way through them."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from job_walk.invariants import sentence
from job_walk.model import Action, Moved, World
from job_walk.stored import Steps

# Worlds whose steps are run together.
_AT_ONCE = 100


class Walkable(Protocol):
    """What is walked through: `ours` are the beginnings of what the product does by itself."""

    steps: Steps
    ours: tuple[str, ...]

    async def first(self) -> World:
        """Return the world in which it begins."""

    def actions(self, world: World) -> dict[str, Action]:
        """Return what may happen next."""

    def has_ended(self, world: World) -> bool: ...

    def violated(self, before: World, name: str, moved: Moved, *, is_known: bool) -> list[str]:
        """Return the invariants that do not hold after an action; those of states only for a new world."""


class Violated(AssertionError):
    """Invariants do not hold; the text says which, and the steps that led there."""

    def __init__(self, invariants: Sequence[str], trace: Sequence[str]) -> None:
        broken = "\n".join(f"{name}: {sentence(name)}" for name in invariants)
        steps = "\n".join(f"{number:3}. {name}" for number, name in enumerate(trace, 1))
        super().__init__(f"{broken}\nno longer after:\n{steps}")
        self.invariants = invariants


@dataclass
class Walk:
    """What a walk has seen."""

    model: Walkable
    came_from: dict[World, tuple[World, str] | None] = field(default_factory=dict)
    edges: dict[World, set[World]] = field(default_factory=dict)  # reversed, by the product's own actions
    transitions: int = 0
    is_complete: bool = False

    @property
    def states(self) -> int:
        return len(self.came_from)

    def visit(self, world: World, name: str, moved: Moved) -> bool:
        """Note an action. False: its world is known already. Raises `Violated`."""
        self.transitions += 1
        is_known = moved.world in self.came_from
        if name.startswith(self.model.ours):
            self.edges.setdefault(moved.world, set()).add(world)
        if broken := self.model.violated(world, name, moved, is_known=is_known):
            raise Violated(broken, [*self.trace(world), name])
        if not is_known:
            self.came_from[moved.world] = (world, name)
        return not is_known

    def trace(self, world: World) -> list[str]:
        """Return the names of the actions that led to a world."""
        names: list[str] = []
        while step := self.came_from[world]:
            world, name = step
            names.append(name)
        return names[::-1]

    def dead_ends(self) -> list[list[str]]:
        """Return the ways to worlds from which the product alone never comes to an end."""
        reached = {world for world in self.came_from if self.model.has_ended(world)}
        waiting = deque(reached)
        while waiting:
            new = self.edges.get(waiting.popleft(), set()) - reached
            reached |= new
            waiting += new
        return [self.trace(world) for world in self.came_from if world not in reached]


async def explore(model: Walkable, *, most_states: int | None = None) -> Walk:
    """Visit every world, at most about `most_states`. Raises `Violated`."""
    first = await model.first()
    walk = Walk(model, {first: None})
    waiting = deque([first])
    while waiting and (most_states is None or walk.states < most_states):
        worlds = [waiting.popleft() for _ in range(min(len(waiting), _AT_ONCE))]
        actions = [(world, model.actions(world)) for world in worlds]
        await model.steps.run_all(it.trial for _, acts in actions for it in acts.values() if it.trial)
        for world, acts in actions:
            for name, action in acts.items():
                moved = action.moved(model.steps.tried(action.trial) if action.trial else None)
                if walk.visit(world, name, moved):
                    waiting.append(moved.world)
    walk.is_complete = not waiting
    return walk


async def follow(model: Walkable, names: Iterable[str]) -> World:
    """Take these actions one after the other, without those that cannot happen. Raises `Violated`."""
    world = await model.first()
    taken: list[str] = []
    for name in names:
        if not (action := model.actions(world).get(name)):
            continue
        moved = action.moved(await model.steps.run(action.trial) if action.trial else None)
        taken.append(name)
        if broken := model.violated(world, name, moved, is_known=False):
            raise Violated(broken, taken)
        world = moved.world
    return world
