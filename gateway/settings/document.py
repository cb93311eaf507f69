"""One YAML file as plain values that remember where they stand.

Rules
-----
* Scalars are read as JSON would read them: ``true``, ``false``, ``null``, whole numbers, and decimals as Decimal. Every
  other plain text stays text, so ``no``, ``on``, ``12:30`` and ``007`` are what they look like (YAML 1.2).
* ``${NAME}`` and ``${NAME:-default}`` stand for environment variables in any value; the result of a plain (unquoted)
  scalar is read as a plain scalar, so that a port may come from the environment. ``$${`` is a literal ``${``.
* Nothing that bytes can hold raises: every fault is a Problem with line and column. The parser's events are looked at
  before its tree is built, because libyaml's composer recurses in C and dies on deep nesting.
* Tags, merge keys, duplicate members and members that are not text are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import yaml

from gateway.errors import ConfigProblem, Place

# A site file of 1000 assets is about 0.4 MiB; what is ten times larger is not a configuration.
MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 24
MAX_ALIASES = 1000
MAX_NODES = 200_000  # after aliases are followed
MAX_INTEGER_DIGITS = 18  # within 64 bits
MAX_DECIMAL_DIGITS = 34  # more than any register or double can hold
MAX_DECIMAL_EXPONENT = 30

Path = tuple[str | int, ...]
Tree = Mapping[str, object]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|\$\{")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ud800-\udfff]")
_WORDS: Mapping[str, object] = {"true": True, "false": False, "null": None, "~": None, "": None}

# What libyaml says, and what a person should do about it; the first fragment found wins.
_HINTS: tuple[tuple[str, str], ...] = (
    ("mapping values are not allowed", "unexpected ':' here; put the text in quotes, or check the indentation"),
    ("did not find expected ',' or '}'", "',' or '}' is missing; inside { } a ${NAME} must stand in quotes"),
    ("did not find expected ',' or ']'", "',' or ']' is missing; inside [ ] a ${NAME} must stand in quotes"),
    ("could not find expected ':'", "':' is missing after a name"),
    ("did not find expected key", "the indentation does not fit the lines above"),
    ("did not find expected '-' indicator", "the indentation does not fit the list above"),
    ("unexpected end of stream", "a quote is not closed before the end of the file"),
    ("undefined alias", "'*' starts an alias that is not defined; put the text in quotes"),
    ("cannot start any token", "a character here must be put in quotes"),
    ("expected a single document", "only one document per file; remove the '---' in the middle"),
)


class _Loader(yaml.CSafeLoader):
    """libyaml without YAML 1.1's guesses: every tag other than the three defaults was written by hand."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 -- overrides PyYAML's own class table, which PyYAML declares this way


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's values; ``values`` and ``keys`` map each path to (line, column), counted from 1."""

    file: str
    tree: Tree
    values: Mapping[Path, tuple[int, int]]
    keys: Mapping[Path, tuple[int, int]]
    problems: tuple[ConfigProblem, ...] = ()

    def problem(self, path: Path, message: str, *, key: bool = False, warning: bool = False) -> ConfigProblem:
        """Say something about what stands at ``path``, or about the nearest thing around it that exists."""
        return ConfigProblem(place=self.place(path, key=key), path=dotted(path), message=message, warning=warning)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where a value (or, with ``key``, its name) stands."""
        found = self.keys.get(path) if key else None
        at = path
        while found is None:
            found = self.values.get(at)
            if found is None and not at:
                found = (1, 1)
            at = at[:-1]
        return Place(file=self.file, line=found[0], column=found[1])


def dotted(path: Path) -> str:
    """Write a path as people read it: ``messages.battery.assets.0.assetName``."""
    return ".".join(str(part) for part in path)


def read(data: bytes, *, file: str, environ: Mapping[str, str]) -> Document:
    """Read one file; whatever is wrong with it is in ``problems``, and ``tree`` then holds what could be read."""
    if len(data) > MAX_BYTES:
        return _unreadable(file, 1, 1, f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        return _unreadable(file, line, column, "the file is not UTF-8 text")
    try:
        obstacle = _obstacle(text)
        if obstacle is not None:
            return _unreadable(file, *obstacle)
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return _unreadable(file, line, column, _explain(error, text))
    except yaml.reader.ReaderError as error:
        before_text = text[: error.position] if isinstance(error.position, int) else ""
        line, column = before_text.count("\n") + 1, len(before_text) - (before_text.rfind("\n") + 1) + 1
        return _unreadable(file, line, column, "a control character is not allowed in YAML")
    return _Walk(file, environ).document(root)


def _unreadable(file: str, line: int, column: int, message: str) -> Document:
    problem = ConfigProblem(place=Place(file=file, line=line, column=column), path="", message=message)
    return Document(file=file, tree={}, values={}, keys={}, problems=(problem,))


def _obstacle(text: str) -> tuple[int, int, str] | None:
    """Find what must not reach the recursive composer: deep nesting, and too many aliases."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > MAX_DEPTH or aliases > MAX_ALIASES:
            what = f"nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_ALIASES} aliases"
            mark = event.start_mark
            return (mark.line + 1, mark.column + 1, what) if mark else (1, 1, what)
    return None


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """Say what to do about a syntax error; ``text`` is the file."""
    mark = error.problem_mark
    lines = text.splitlines()
    if mark is not None and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        return "a tab cannot indent YAML; use spaces"
    said = " ".join(part for part in (error.problem, error.context) if part)
    return next((hint for fragment, hint in _HINTS if fragment in said), f"not valid YAML: {said or 'cannot be read'}")


@dataclass(slots=True)
class _Walk:
    """One pass over the node tree, collecting positions and problems."""

    file: str
    environ: Mapping[str, str]
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    nodes: int = 0
    full: bool = False

    def document(self, root: yaml.Node | None) -> Document:
        tree: dict[str, object] = {}
        if isinstance(root, yaml.MappingNode):
            tree = self._mapping(root, ())
        elif root is not None:
            self._blame(root, (), "expected 'name: value' lines")
        return Document(file=self.file, tree=tree, values=self.values, keys=self.keys, problems=tuple(self.problems))

    def _value(self, node: yaml.Node, path: Path) -> object:
        self.values[path] = _position(node)
        if self.full:
            return None
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:  # an alias may repeat, or contain, what is around it
            self.full = True
            self._blame(node, path, "aliases make this file too large or endless")
            return None
        if node.tag not in _DEFAULT_TAGS:
            self._blame(node, path, f"tags such as {_short(node.tag)} are not used here; remove it")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        self.values[path] = _position(node)
        members: dict[str, object] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(key, yaml.ScalarNode) or _CONTROL.search(name) or key.tag not in _DEFAULT_TAGS:
                self._blame(key, path, "a member's name must be plain text")
                continue
            here = (*path, name)
            if name in members:
                first = self.keys[here][0]
                self._blame(key, here, f"{name!r} stands here twice; the first is in line {first}")
                continue
            self.keys[here] = _position(key)
            members[name] = self._value(value, here)
        return members

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text = self._substituted(node, path)
        if text is None:
            return None
        if _CONTROL.search(text):
            self._blame(node, path, "control characters are not allowed")
            return None
        if node.style in _QUOTED:
            return text
        try:
            return plain(text)
        except ValueError as error:
            self._blame(node, path, str(error))
            return None

    def _substituted(self, node: yaml.ScalarNode, path: Path) -> str | None:
        """Put environment variables in; None when one is missing."""
        text: str = node.value
        if "${" not in text:
            return text
        parts: list[str] = []
        end = 0
        for match in _VARIABLE.finditer(text):
            value = self._variable(match, lambda message: self._blame(node, path, message))
            if value is None:
                return None
            parts += [text[end : match.start()], value]
            end = match.end()
        return "".join([*parts, text[end:]])

    def _variable(self, match: re.Match[str], blame: Callable[[str], None]) -> str | None:
        name, default = match["name"], match["default"]
        if match[0] == "$${":
            return "${"
        if name is None:
            blame("'${' needs a name and a '}', such as ${NAME:-default}; write $${ for a literal ${")
            return None
        value = self.environ.get(name) or default  # as in a shell, ':-' also replaces an empty value
        if value is None:
            blame(f"the environment variable {name} is not set and has no default (${{{name}:-default}})")
        return value

    def _blame(self, node: yaml.Node, path: Path, message: str) -> None:
        line, column = _position(node)
        place = Place(file=self.file, line=line, column=column)
        self.problems.append(ConfigProblem(place=place, path=dotted(path), message=message))


_QUOTED = frozenset({"'", '"', "|", ">"})
_DEFAULT_TAGS = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


def plain(text: str) -> object:
    """Read an unquoted scalar.

    Raises:
        ValueError: a number that no register, and no JSON reader, can be trusted with.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if len(text.removeprefix("-")) > MAX_INTEGER_DIGITS:
            raise ValueError("this number is too long; if it is a name or an id, put it in quotes")
        return int(text)
    if _DECIMAL.fullmatch(text):
        return _decimal(text)
    return text


def leaves(tree: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Every scalar of a tree with its path, in order."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, index))
    else:
        yield path, tree


def _decimal(text: str) -> Decimal:
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > MAX_DECIMAL_DIGITS or len(exponent) > 4 or abs(int(exponent or "0")) > MAX_DECIMAL_EXPONENT:
        raise ValueError("this number is too long or too large")
    return Decimal(text)


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:40]
