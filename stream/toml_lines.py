"""Where each key of a TOML document stands, as line numbers.

``tomllib`` names the line of a syntax error, but a value that is well written and wrong (an
unknown rule code, a date after another) has lost its place by the time it can be judged.
``stream.policy`` asks this module for the place. It must be given only documents that
``tomllib`` has accepted: it finds keys, it does not check grammar. It knows nothing of rules.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""Keys from the root down; an array of tables or of inline tables adds the index from 0."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INLINE_SPACE = re.compile(r"[ \t]*")
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([btnfr"\\]))')
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[Path, int]:
    """Returns the line (from 1) of every key and table header of a valid TOML document.

    A path written more than once (a header ``[a.b]`` after ``[a.c]``, say) keeps its first line.
    Raises RecursionError for nesting deeper than the interpreter allows.
    """
    return _Walk(text).lines


class _Walk:
    """One pass over the document. ``position`` is a character offset, never a byte offset."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self.line_position = 0
        self.lines: dict[Path, int] = {(): 1}
        self.array_lengths: dict[Path, int] = {}
        self._document()

    def _document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_SPACE)
            if self.position >= len(self.text):
                return
            if self.text.startswith("[[", self.position):
                line = self._current_line()
                self.position += 2
                name = self._resolve(self._key())
                self.position += 2
                index = self.array_lengths.get(name, 0)
                self.array_lengths[name] = index + 1
                self.lines.setdefault(name, line)
                table = (*name, index)
                self.lines[table] = line
            elif self.text[self.position] == "[":
                line = self._current_line()
                self.position += 1
                table = self._resolve(self._key())
                self.position += 1
                self.lines.setdefault(table, line)
            else:
                self._key_and_value(table)

    def _key_and_value(self, table: Path) -> None:
        line = self._current_line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.position += 1  # The equals sign.
        self._skip(_INLINE_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        character = self.text[self.position]
        if character in "\"'":
            self._string()
        elif character == "[":
            self._array(path)
        elif character == "{":
            self.position += 1
            self._skip(_SPACE)
            while self.text[self.position] != "}":
                self._key_and_value(path)
                self._skip(_SPACE)
                if self.text[self.position] == ",":
                    self.position += 1
                    self._skip(_SPACE)
            self.position += 1
        else:
            self._skip(_BARE_VALUE)

    def _array(self, path: Path) -> None:
        self.position += 1
        index = 0
        self._skip(_SPACE)
        while self.text[self.position] != "]":
            element = (*path, index)
            self.lines[element] = self._current_line()
            self._value(element)
            index += 1
            self._skip(_SPACE)
            if self.text[self.position] == ",":
                self.position += 1
                self._skip(_SPACE)
        self.position += 1

    def _key(self) -> list[str]:
        """Reads a dotted key and leaves the position on what follows it (``=`` or ``]``)."""
        parts: list[str] = []
        while True:
            self._skip(_INLINE_SPACE)
            if self.text[self.position] in "\"'":
                parts.append(self._string())
            else:
                match = _BARE_KEY.match(self.text, self.position)
                assert match is not None, "tomllib has accepted this key"
                self.position = match.end()
                parts.append(match.group())
            self._skip(_INLINE_SPACE)
            if self.text[self.position] != ".":
                return parts
            self.position += 1

    def _string(self) -> str:
        quote = self.text[self.position]
        if self.text.startswith(quote * 3, self.position):
            # A multi-line string is never a key, so that its text is not needed. It may end in
            # up to two quotes of its own before the closing three.
            end = self._find_quote(quote * 3, quote, self.position + 3)
            while self.text.startswith(quote, end + 3):
                end += 1
            self.position = end + 3
            return ""
        end = self._find_quote(quote, quote, self.position + 1)
        text = self.text[self.position + 1 : end]
        self.position = end + 1
        if quote == "'":
            return text
        return _ESCAPE.sub(
            lambda match: _ESCAPED.get(match[3]) or chr(int(match[1] or match[2], 16)), text
        )

    def _find_quote(self, closing: str, quote: str, start: int) -> int:
        while True:
            end = self.text.index(closing, start)
            escape = self.text.find("\\", start, end) if quote == '"' else -1
            if escape < 0:
                return end
            start = escape + 2

    def _resolve(self, parts: list[str]) -> Path:
        """A header names the last element of every array of tables on its way."""
        path: Path = ()
        for place, part in enumerate(parts):
            path = (*path, part)
            if place < len(parts) - 1 and path in self.array_lengths:
                path = (*path, self.array_lengths[path] - 1)
        return path

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.position)
        if match is not None:
            self.position = match.end()

    def _current_line(self) -> int:
        self.line += self.text.count("\n", self.line_position, self.position)
        self.line_position = self.position
        return self.line
