"""One description, two writings: plain YAML for given values, and a Helm template for any.

A description is made of dicts, lists and scalars, with these holes: `Ref` (one value), `Tree` (a whole
mapping or list of values; under the key ``<<`` its entries join those around it), `Lines` and `Text`
(texts with values in them) and `When` (only if); ``@{path}`` stands for a value inside a text,
``%{path}`` for its JSON. `plain` fills the holes by Python, `helm` writes them in Helm's language;
tests hold both to the same objects.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "NAMESPACE",
    "Both",
    "Condition",
    "Digest",
    "Equals",
    "Image",
    "Is",
    "Lines",
    "Not",
    "Ref",
    "Text",
    "Tree",
    "Values",
    "When",
    "helm",
    "plain",
    "write_yaml",
]

_PLAIN_TEXT: Final = re.compile(r"[A-Za-z0-9/.][A-Za-z0-9 /._@+-]*(?<! )")
_HOLE: Final = re.compile(r"(@|%)\{([A-Za-z.]+)\}")
_DROPPED: Final = object()

Values: TypeAlias = "Mapping[str, Any]"
Condition: TypeAlias = "Is | Equals | Both | Not"


# ---------------------------------------------------------------- conditions


@dataclass(frozen=True, slots=True)
class Is:
    """A value is set: true, or not empty."""

    path: str

    def holds(self, values: Values) -> bool:
        """Tell for given values."""
        return bool(_get(values, self.path))

    def helm(self) -> str:
        """Say it to Helm."""
        return f".Values.{self.path}"


@dataclass(frozen=True, slots=True)
class Equals:
    """A value is this text."""

    path: str
    text: str

    def holds(self, values: Values) -> bool:
        """Tell for given values."""
        return bool(_get(values, self.path) == self.text)

    def helm(self) -> str:
        """Say it to Helm."""
        return f'(eq .Values.{self.path} "{self.text}")'


@dataclass(frozen=True, slots=True)
class Both:
    """Two conditions hold."""

    first: Condition
    second: Condition

    def holds(self, values: Values) -> bool:
        """Tell for given values."""
        return self.first.holds(values) and self.second.holds(values)

    def helm(self) -> str:
        """Say it to Helm."""
        return f"(and {self.first.helm()} {self.second.helm()})"


@dataclass(frozen=True, slots=True)
class Not:
    """A condition doesn't hold."""

    test: Condition

    def holds(self, values: Values) -> bool:
        """Tell for given values."""
        return not self.test.holds(values)

    def helm(self) -> str:
        """Say it to Helm."""
        return f"(not {self.test.helm()})"


# ---------------------------------------------------------------- holes


@dataclass(frozen=True, slots=True)
class Ref:
    """One scalar value."""

    path: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole mapping or list."""

    path: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a text, from a value."""

    path: str


@dataclass(frozen=True, slots=True)
class When:
    """An entry of a mapping, an item of a list or a line of a text that is there only if."""

    test: Condition
    value: Any


@dataclass(frozen=True, slots=True)
class Text:
    """A text of several lines, each a string (with ``@{path}`` in it), `Lines`, or a `When` of one."""

    lines: tuple[Any, ...]

    @classmethod
    def of(cls, *lines: Any) -> Text:
        """Make one of its lines."""
        return cls(lines)


@dataclass(frozen=True, slots=True)
class Image:
    """The image's name: by digest if one is given, else by tag."""

    path: str


@dataclass(frozen=True, slots=True)
class Digest:
    """A hash of some texts: pods that carry it are replaced when one of them changes."""

    paths: tuple[str, ...]

    def of(self, values: Values) -> str:
        """Compute it."""
        text = "".join(_json(_get(values, path)) for path in self.paths)
        return hashlib.sha256(text.encode()).hexdigest()

    def helm(self) -> str:
        """Say it to Helm."""
        named = " ".join(f"(toJson .Values.{path})" for path in self.paths)
        return f'{{{{ printf "{"%s" * len(self.paths)}" {named} | sha256sum }}}}'


NAMESPACE: Final = Ref("Release.Namespace")
"""Where a release lives: not among a chart's values, but Helm's own."""


# Go writes these so, since its JSON may stand in a page.
_ESCAPED: Final = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})


def _json(value: Any) -> str:  # noqa: ANN401 - whatever it is
    """Write JSON as Helm's toJson does."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True).translate(_ESCAPED)


def _get(values: Values, path: str) -> Any:  # noqa: ANN401 - whatever it is
    found: Any = values
    for part in path.split("."):
        found = found[part]
    return found


# ---------------------------------------------------------------- for given values


def plain(value: Any, values: Values) -> Any:  # noqa: ANN401, PLR0911 - a description; one line a hole
    """Fill a description's holes.

    Parameters
    ----------
    value : object
        The description.
    values : mapping
        All values, and ``Release.Namespace``.

    Returns
    -------
    object
        Dicts, lists and scalars only.
    """
    match value:
        case Ref(path) | Tree(path):
            return _get(values, path)
        case Image(path):
            image = _get(values, path)
            at = f"@{image['digest']}" if image["digest"] else f":{image['tag']}"
            return image["repository"] + at
        case Digest():
            return value.of(values)
        case Text():
            return "\n".join(_text(value, values)) + "\n"
        case When(test, inner):
            return plain(inner, values) if test.holds(values) else _DROPPED
        case dict():
            filled = {key: plain(each, values) for key, each in value.items()}
            return filled.pop("<<", {}) | {key: each for key, each in filled.items() if each is not _DROPPED}
        case list():
            return [each for each in (plain(each, values) for each in value) if each is not _DROPPED]
        case str():
            return _HOLE.sub(lambda hole: _inside(hole, values), value)
        case _:
            return value


def _inside(hole: re.Match[str], values: Values) -> str:
    found = _get(values, hole[2])
    return str(found) if hole[1] == "@" else _json(found)


def _text(text: Text, values: Values) -> Iterator[str]:
    for line in text.lines:
        match line:
            case When(test, inner):
                if test.holds(values):
                    yield from _text(Text.of(inner), values)
            case Lines(path):
                yield from str(_get(values, path)).rstrip("\n").split("\n")
            case _:
                yield str(plain(line, values))


# ---------------------------------------------------------------- for Helm


def helm(value: Any, defaults: Values) -> str:  # noqa: ANN401 - a description
    """Write a description as a Helm template.

    Parameters
    ----------
    value : dict
        The description.
    defaults : mapping
        The chart's values: their types tell how each is written.

    Returns
    -------
    str
        YAML with Helm's actions in it.
    """
    return "\n".join(_entries(value, 0, defaults)) + "\n"


def write_yaml(value: Any) -> str:  # noqa: ANN401 - plain data
    """Write plain data as YAML, as this project's own deployment files are.

    Parameters
    ----------
    value : dict
        Without holes.

    Returns
    -------
    str
        Block style, in the order of the keys.
    """
    return "\n".join(_entries(value, 0, None)) + "\n"


def _entries(value: Any, indent: int, defaults: Values | None) -> Iterator[str]:  # noqa: ANN401
    pad = " " * indent
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "<<":
                yield f"{{{{- with .Values.{each.path} }}}}"
                yield f"{{{{- toYaml . | nindent {indent} }}}}"
                yield "{{- end }}"
                continue
            inner, test = (each.value, each.test) if isinstance(each, When) else (each, None)
            yield from _if(test, _entry(f"{pad}{_scalar(key, None)}:", inner, indent, defaults))
        return
    for each in value:
        inner, test = (each.value, each.test) if isinstance(each, When) else (each, None)
        if isinstance(inner, dict) and inner:
            first, *rest = _entries(inner, indent + 2, defaults)
            if first.lstrip().startswith("{{"):
                msg = f"the first entry of a list's item can't be conditional: {inner}"
                raise ValueError(msg)
            yield from _if(test, iter([f"{pad}- {first[indent + 2 :]}", *rest]))
        else:
            yield from _if(test, _entry(f"{pad}-", inner, indent, defaults))


def _if(test: Condition | None, lines: Iterator[str]) -> Iterator[str]:
    if test is None:
        yield from lines
        return
    yield f"{{{{- if {test.helm()} }}}}"
    yield from lines
    yield "{{- end }}"


def _entry(head: str, value: Any, indent: int, defaults: Values | None) -> Iterator[str]:  # noqa: ANN401
    match value:
        case Tree(path):
            yield f"{head} {{{{- toYaml .Values.{path} | nindent {indent + 2} }}}}"
        case Text():
            yield f"{head} |"
            for line in _helm_text(value):
                action = line.startswith("{{- ")
                yield line.replace("INDENT", str(indent + 2)) if action else _padded(line, indent + 2)
        case str() if "\n" in value:
            yield f"{head} |" if value.endswith("\n") else f"{head} |-"
            shown = value if defaults is None else _escape(value)
            yield from (_padded(line, indent + 2) for line in shown.rstrip("\n").split("\n"))
        case dict() | list() if value:
            yield head
            yield from _entries(value, indent + 2, defaults)
        case _:
            yield f"{head} {_scalar(value, defaults)}"


def _padded(line: str, indent: int) -> str:
    return f"{' ' * indent}{line}" if line else ""


def _helm_text(text: Text) -> Iterator[str]:
    for line in text.lines:
        match line:
            case When(test, inner):
                yield f"{{{{- if {test.helm()} }}}}"
                yield from _helm_text(Text.of(inner))
                yield "{{- end }}"
            case Lines(path):
                yield f'{{{{- .Values.{path} | trimSuffix "\\n" | nindent INDENT }}}}'
            case _:
                yield _HOLE.sub(_action, _escape(line))


def _action(hole: re.Match[str]) -> str:
    return f"{{{{ {_name(hole[2])}{'' if hole[1] == '@' else ' | toJson'} }}}}"


def _name(path: str) -> str:
    return f".{path}" if path.startswith("Release.") else f".Values.{path}"


def _escape(text: str) -> str:
    """Keep other tools' double braces from Helm."""
    return re.sub(r"\{\{.*?\}\}", lambda found: "{{`" + found[0] + "`}}", text)


def _scalar(value: Any, defaults: Values | None) -> str:  # noqa: ANN401, PLR0911 - one line a hole
    match value:
        case Ref(path) if defaults is not None:
            named = _name(path)
            if path.startswith("Release.") or isinstance(default := _get(defaults, path), str):
                return f"{{{{ {named} | quote }}}}"
            # Helm reads numbers as floats, and would write a million as 1e+06.
            return f"{{{{ {named} }}}}" if isinstance(default, bool) else f"{{{{ int {named} }}}}"
        case Digest():
            return value.helm()
        case Image(path):
            one = f".Values.{path}"
            digest, tag = f"@{{{{ {one}.digest }}}}", f":{{{{ {one}.tag }}}}"
            at = f"{{{{ if {one}.digest }}}}{digest}{{{{ else }}}}{tag}{{{{ end }}}}"
            return f'"{{{{ {one}.repository }}}}{at}"'
        case str():
            quoted = value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
            if defaults is None:
                return quoted
            return _HOLE.sub(_action, _escape(quoted))
        case _:
            return json.dumps(value)


def _is_plain(text: str) -> bool:
    return bool(_PLAIN_TEXT.fullmatch(text)) and yaml.safe_load(text) == text
