"""Telegram's MarkdownV2, strictly: every reserved character outside an entity must be escaped.

Rules: core.telegram.org/bots/api#markdownv2-style. Block quotes and custom emoji are refused: nobody here
sends them.
"""

from typing import Any, NoReturn

from sandbox.telegram.errors import bad_request

_RESERVED = set("_*[]()~`>#+-=|{}.!")
_MARKS = {"__": "underline", "||": "spoiler", "*": "bold", "_": "italic", "~": "strikethrough"}


def parse_markdown(source: str) -> tuple[str, list[dict[str, Any]]]:
    """Plain text and entities of `source`; raises 400 `can't parse entities: …` with the byte offset."""
    return _Parser(source).run()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.text = ""
        self.open: list[tuple[str, int, int]] = []  # mark, offset in the text, byte offset in the source
        self.entities: list[dict[str, Any]] = []

    def run(self) -> tuple[str, list[dict[str, Any]]]:
        while self.position < len(self.source):
            self._step()
        if self.open:
            self._refuse(
                f"Can't find end of {self._name(self.open[-1][0])} entity at byte offset {self.open[-1][2]}"
            )
        return self.text, sorted(self.entities, key=lambda entity: (entity["offset"], -entity["length"]))

    def _step(self) -> None:
        rest = self.source[self.position :]
        mark = next((mark for mark in _MARKS if rest.startswith(mark)), None)
        if rest[0] == "\\" and len(rest) > 1:
            self.text += rest[1]
            self.position += 2
        elif rest.startswith("```"):
            self._code("```", "pre")
        elif rest[0] == "`":
            self._code("`", "code")
        elif mark:
            self._mark(mark)
        elif rest[0] == "[":
            self.open.append(("[", _utf16(self.text), self._byte_offset()))
            self.position += 1
        elif rest[0] == "]" and self.open and self.open[-1][0] == "[":
            self._link()
        elif rest[0] in _RESERVED:
            self._refuse(f"Character '{rest[0]}' is reserved and must be escaped with the preceding '\\'")
        else:
            self.text += rest[0]
            self.position += 1

    def _mark(self, mark: str) -> None:
        self.position += len(mark)
        if self.open and self.open[-1][0] == mark:
            _, start, _ = self.open.pop()
            self._add(_MARKS[mark], start)
        elif any(opened[0] == mark for opened in self.open):
            self._refuse(
                f"Can't find end of {self._name(self.open[-1][0])} entity at byte offset {self.open[-1][2]}"
            )
        else:
            self.open.append((mark, _utf16(self.text), self._byte_offset() - len(mark)))

    def _code(self, fence: str, kind: str) -> None:
        end = self.source.find(fence, self.position + len(fence))
        if end < 0:
            self._refuse(f"Can't find end of {kind.capitalize()} entity at byte offset {self._byte_offset()}")
        inner = self.source[self.position + len(fence) : end]
        start = _utf16(self.text)
        self.text += inner.replace("\\`", "`").replace("\\\\", "\\")
        self.position = end + len(fence)
        self._add(kind, start)

    def _link(self) -> None:
        _, start, begun = self.open.pop()
        end = self.source.find(")", self.position)
        if not self.source.startswith("](", self.position) or end < 0:
            self._refuse(f"Can't find end of a URL at byte offset {begun}")
        url = self.source[self.position + 2 : end]
        self.position = end + 1
        self._add("text_link", start, url=url)

    def _add(self, kind: str, start: int, **more: str) -> None:
        length = _utf16(self.text) - start
        if length:
            self.entities.append({"type": kind, "offset": start, "length": length, **more})

    def _byte_offset(self) -> int:
        return len(self.source[: self.position].encode())

    @staticmethod
    def _name(mark: str) -> str:
        return "TextUrl" if mark == "[" else _MARKS[mark].capitalize()

    @staticmethod
    def _refuse(reason: str) -> NoReturn:
        raise bad_request(f"can't parse entities: {reason}")


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
