"""`RenderOrder`: the order of a remix that a run of the task RENDER handles."""

from collections.abc import Sequence
from dataclasses import dataclass

from stemdrop.chat.remix_titles import remix_title, remix_words
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job
from stemdrop.domain.recipes import Recipe, Remix
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from stemdrop.domain.titles import MAX_NAME, file_name, in_sentence, title


@dataclass
class RenderOrder:
    """An order, its job, and the run's state: `token`, number, and the message that shows the progress."""

    remix: Remix
    job: Job
    translate: Language
    token: str = ""
    run: int = 1
    message_id: int = 0

    def __post_init__(self) -> None:
        # in the supergroup that a group became, the old id names another message
        if self.remix.chat_id == self.job.chat_id:
            self.message_id = self.remix.message_id

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes of the order, without clicks if the song's beats are not known."""
        has_beats = bool(self.job.facts and self.job.facts.has_beats)
        return tuple(it if has_beats else it.without_clicks for it in self.remix.recipes)

    @property
    def lacks_beats(self) -> bool:
        """Whether a recipe has clicks, but only a sample of the song was measured."""
        facts = self.job.facts
        has_clicks = any(it.has_count_in or it.has_metronome for it in self.remix.recipes)
        return has_clicks and facts is not None and bool(facts.bpm) and not facts.has_beats

    @property
    def stems(self) -> Sequence[Stem]:
        return self.job.result.stems if self.job.result else ()

    @property
    def name(self) -> str:
        """The title of the remix or practice pack, for use in sentences."""
        if len(self.remix.recipes) == 1:
            return in_sentence(self.title(self.recipes[0]), MAX_NAME)
        song, pack = self.job.source.title, self.translate("remix.pack")
        return in_sentence(title(song, pack, self.translate("title.song")), MAX_NAME)

    @property
    def archive_name(self) -> str:
        pack, nameless = self.translate("remix.pack"), self.translate("title.song")
        return file_name(self.job.source.title, pack, ".zip", nameless)

    def words(self, recipe: Recipe) -> str:
        return remix_words(recipe, self.stems, self.translate)

    def title(self, recipe: Recipe) -> str:
        return remix_title(self.job.source.title, recipe, self.stems, self.translate)

    def file_name(self, recipe: Recipe, extension: str) -> str:
        nameless = self.translate("title.song")
        return file_name(self.job.source.title, self.words(recipe), extension, nameless)

    def facts(self, recipe: Recipe) -> SongFacts | None:
        """Return tempo, key and beats of the song as the recipe changes them."""
        facts = self.job.facts
        return facts.changed(recipe.speed, recipe.semitones) if facts else None
