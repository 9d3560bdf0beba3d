# SPDX-License-Identifier: Apache-2.0
"""JSON and YAML documents of a file, each with its place for error messages.

JSON is decoded by msgspec directly into the few fields that naming needs; YAML by `events` into the same fields.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
import yaml
import yaml.reader

from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.vmifile.events import Events, Progress, Shape

CURE = "VMIs are expected as `kubectl get vmi -A -o yaml` or `-o json` writes them"
_BROKEN = "write the file again, or correct it there"
_TOO_DEEP = "it is nested too deep to be a list of VMIs"
_T = TypeVar("_T")


def documents(name: str, data: bytes, progress: Progress | None) -> "list[Document]":
    """Return the documents in `data`, which is UTF-8; `name` is the file in messages. Raises SourceError."""
    found = _json_documents(name, data) if _STARTS_JSON.match(data) else _yaml_documents(name, data, progress)
    if not found:
        raise SourceError(f"{name}: it is empty, which a list without VMIs is not (did kubectl fail?): {CURE}")
    return found


class Document(NamedTuple):
    """A document of a file, or an item of a list in it, not yet decoded into a type."""

    file: str
    place: str  # "$.items[3]", after "document 2, " where there are several
    value: Any
    convert: Callable[[Any, Any], Any]  # (value, type) -> value of that type
    listing: type["JsonList"] | type["YamlList"]

    def typed(self, into: type[_T]) -> _T:
        """Return the value as an instance of `into`. Raises SourceError."""
        try:
            typed: _T = self.convert(self.value, into)
        except msgspec.ValidationError as e:
            # msgspec's message ends with the path inside the value, whose root is `$`, as in the place.
            message, at, path = str(e).partition(" - at `$")
            raise self.error(message if at else str(e), path=path.removesuffix("`")) from e
        except msgspec.DecodeError as e:  # in a string or a number, where Python's own decoder is more lenient
            raise self.error(f"broken JSON: {e}") from e
        except RecursionError as e:
            raise self.error(_TOO_DEEP) from e
        return typed

    def error(self, message: str, *, path: str = "") -> SourceError:
        """Return an error with the place in the file; `path` is the place inside the document."""
        at = f"{self.place}{path}".removesuffix(", $")
        return SourceError(f"{self.file}: {at}: {message}: {CURE}")


class ListMeta(msgspec.Struct, rename={"token": "continue", "remaining": "remainingItemCount"}):
    """`metadata` of a list; a page of a longer list has a continue token, and may count the remaining items."""

    token: str | None = None
    remaining: int | None = None


class JsonList(msgspec.Struct):
    """A list in JSON, its items not yet decoded."""

    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: ListMeta | None = None


class YamlList(msgspec.Struct):
    """A list in YAML, its items not yet converted."""

    items: list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: ListMeta | None = None


# A JSON object always starts with a quoted key; a YAML mapping in braces rarely does.
_STARTS_JSON = re.compile(rb'[ \t\r\n]*(\{[ \t\r\n]*["}]|\[)')
_SPACES = re.compile(r"[ \t\r\n]*")


def _json_documents(name: str, data: bytes) -> list[Document]:
    documents = _split_json(name, data)
    return [
        Document(name, f"document {number}, $" if len(documents) > 1 else "$", document, _from_json, JsonList)
        for number, document in enumerate(documents, start=1)
    ]


def _from_json(value: bytes, into: type[_T]) -> _T:
    return msgspec.json.decode(value, type=into)


def _split_json(name: str, data: bytes) -> list[bytes]:
    """Return the consecutive JSON documents in `data`, usually one."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except RecursionError as e:
        raise SourceError(f"{name}: {_TOO_DEEP}") from e
    except msgspec.DecodeError:
        pass  # broken, or several documents
    else:
        return [data]
    # Only finds the end of each document, and line and column of an error; it keeps nothing.
    decoder = json.JSONDecoder(object_pairs_hook=len, parse_int=float)
    text = data.decode()
    documents: list[bytes] = []
    end = 0
    while (start := _skip_spaces(text, end)) < len(text):
        try:
            _, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as e:
            raise SourceError(f"{name}: broken JSON in line {e.lineno}, column {e.colno}: {e.msg}: {_BROKEN}") from e
        except RecursionError as e:
            raise SourceError(f"{name}: {_TOO_DEEP}") from e
        documents.append(text[start:end].encode())
    return documents


def _skip_spaces(text: str, start: int) -> int:
    spaces = _SPACES.match(text, start)
    return spaces.end() if spaces else start


def _yaml_documents(name: str, data: bytes, progress: Progress | None) -> list[Document]:
    try:
        documents = list(Events(data, _SHAPE, progress=progress).documents())
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        at = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SourceError(f"{name}: broken YAML{at}: {e.problem or e.context}: {_BROKEN}") from e
    except yaml.reader.ReaderError as e:
        raise SourceError(f"{name}: this is not text (position {e.position}: {e.reason}): {CURE}") from e
    return [
        Document(name, f"document {number}, $" if len(documents) > 1 else "$", document, _from_yaml, YamlList)
        for number, document in enumerate(documents, start=1)
        if document is not None  # nothing between two `---`
    ]


def _shape(info: msgspec.inspect.Type) -> Shape:
    """Return the keys that decoding into a type needs."""
    match info:
        case msgspec.inspect.StructType(fields=fields):
            return {field.encode_name: _shape(field.type) for field in fields}
        case msgspec.inspect.ListType(item_type=item):
            return _shape(item)
        case msgspec.inspect.UnionType(types=types):
            return next((shape for shape in map(_shape, types) if shape is not None), None)
    return None


_VMI_SHAPE = _shape(msgspec.inspect.type_info(VmiObject)) or {}
_META_SHAPE = _shape(msgspec.inspect.type_info(ListMeta)) or {}
_SHAPE: Shape = {
    **_VMI_SHAPE,
    "items": _VMI_SHAPE,
    "metadata": {**(_VMI_SHAPE["metadata"] or {}), **_META_SHAPE},
}


def _from_yaml(value: Any, into: type[_T]) -> _T:
    return msgspec.convert(value, into, strict=False)  # scalars are text: "true" becomes a bool where one is expected
