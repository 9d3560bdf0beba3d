# SPDX-License-Identifier: Apache-2.0
"""Builds values from YAML events, only the parts that are needed.

For 10,000 VMIs (42 MB) this takes 3.8 s and 83 MiB; `yaml.load` with `CBaseLoader`, which builds everything, takes 35 s
and 1.6 GiB, and the parser alone 3.2 s. Tags never construct anything, and every scalar stays text, so a
name `on`, a label `123` or a timestamp is taken literally, quoted or not.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

# The keys to build, each with the shape of its value; None builds everything. The items of a sequence have its shape.
Shape: TypeAlias = "dict[str, Shape] | None"
Progress: TypeAlias = Callable[[float], None]

# VMIs nest about 15 deep. This limit, not the interpreter's stack, bounds recursion.
MAX_DEPTH: Final = 100
# Characters that the aliases of a document may repeat: enough for hand-written files, too little for an alias bomb.
MAX_REPEATED: Final = 10_000_000

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_CORE = "tag:yaml.org,2002:"
_NULL = f"{_CORE}null"
_TAGS = frozenset(
    [None, "!", _NULL, *(f"{_CORE}{tag}" for tag in ("str", "bool", "int", "float", "timestamp", "map", "seq"))]
)


class Events:
    """The values in a YAML stream in UTF-8.

    Mappings become dicts with the keys of `shape`, sequences lists, and scalars str or None. `progress` is called with
    the part read so far, from 0 to 1. Raises `yaml.YAMLError`: `MarkedYAMLError` with the position of invalid or
    unsupported YAML, `ReaderError` for bytes that are not text.
    """

    def __init__(self, data: bytes, shape: Shape = None, *, progress: Progress | None = None) -> None:
        # libyaml if PyYAML was built with it: the same events, ten times faster.
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.get = loader(data).get_event
        self.shape = shape
        self.length = len(data)
        self.progress = progress
        self.reported = 0.0
        self.anchors: dict[str, tuple[Any, int]] = {}  # value and size
        self.size = 0  # characters and nodes built so far, counting aliases each time
        self.repeated = 0

    def documents(self) -> Iterator[Any]:
        """Yield the value of each document, None if there is nothing between two `---`."""
        self.get()  # the start of the stream
        while isinstance(self.get(), DocumentStartEvent):
            self.anchors.clear()
            self.repeated = 0
            yield self.node(self.get(), self.shape, 0)
            self.get()  # the end of the document

    def node(self, event: Any, shape: Shape, depth: int) -> Any:
        """Read and return the value that starts with `event`."""
        if type(event) is AliasEvent:
            return self.alias(event)
        if event.tag not in _TAGS:
            _fail(event, f"the tag {event.tag[:80]} has no meaning here")
        if event.anchor is not None:
            shape = None  # an alias may occur where other keys are needed
        before = self.size
        value: Any
        if type(event) is ScalarEvent:
            self.size += 1 + len(event.value)
            value = None if _is_null(event) else event.value
        elif depth == MAX_DEPTH:
            _fail(event, "nested too deep")
        elif type(event) is SequenceStartEvent:
            value = self.sequence(shape, depth + 1)
        else:
            value = self.mapping(shape, depth + 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = value, self.size - before
        return value

    def sequence(self, shape: Shape, depth: int) -> list[Any]:
        """Read and return the sequence that has just started."""
        values = []
        while type(event := self.get()) is not SequenceEndEvent:
            values.append(self.node(event, shape, depth))
            self.report(event)
        self.size += 1
        return values

    def mapping(self, shape: Shape, depth: int) -> dict[str, Any]:
        """Read and return the mapping that has just started."""
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while type(event := self.get()) is not MappingEndEvent:
            if type(event) is not ScalarEvent:
                _fail(event, "a key must be a word")
            key = event.value
            if key == "<<" and event.implicit[0]:
                self.merge(shape, depth, merged)
            elif shape is not None and key not in shape:
                self.skip(self.get(), depth)
            elif key in values:
                _fail(event, f"the key {key[:80]!r} occurs twice in one mapping")
            else:
                self.size += len(key)
                values[key] = self.node(self.get(), None if shape is None else shape[key], depth)
        self.size += 1
        return {**merged, **values} if merged else values

    def merge(self, shape: Shape, depth: int, merged: dict[str, Any]) -> None:
        """Add the value of a merge key to `merged`: a mapping, or several, of which the first with a key wins."""
        event = self.get()
        value = self.node(event, shape, depth)
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                _fail(event, "only mappings can be merged")
            for key, inner in source.items():
                merged.setdefault(key, inner)

    def alias(self, event: Any) -> Any:
        """Return the value that an alias refers to."""
        if event.anchor not in self.anchors:
            _fail(event, f"the alias *{event.anchor[:80]} refers to itself or to an anchor that does not exist")
        value, size = self.anchors[event.anchor]
        self.size += size
        self.repeated += size
        if self.repeated > MAX_REPEATED:
            _fail(event, "the aliases repeat too much")
        return value

    def skip(self, event: Any, depth: int) -> None:
        """Skip the value that starts with `event`, keeping only what has an anchor."""
        get = self.get
        level = 0
        while True:
            kind = type(event)
            if kind is SequenceEndEvent or kind is MappingEndEvent:
                level -= 1
            elif kind is not AliasEvent:
                if event.anchor is not None or event.tag not in _TAGS:
                    self.node(event, None, depth + level)
                elif kind is not ScalarEvent:
                    level += 1
                    if depth + level > MAX_DEPTH:
                        _fail(event, "nested too deep")
            if level == 0:
                return
            event = get()

    def report(self, event: Any) -> None:
        """Report the progress after each percent."""
        part = event.start_mark.index / self.length
        if self.progress is not None and part >= self.reported + 0.01:
            self.reported = part
            self.progress(part)


def _is_null(event: Any) -> bool:
    return event.tag == _NULL or (event.implicit[0] and event.value in _NULLS)


def _fail(event: Any, problem: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
