"""VMIs from a file, as `kubectl get vmi -A -o yaml` or `-o json` writes them.

A file that cannot be read whole gives no VMIs at all: half of one would look like deletions. So a file that breaks off
is an error even where what is left of it is well-formed: a list needs its `items` and its `kind`, of which kubectl
writes `kind` last, and an empty file is what a kubectl that failed leaves behind, not an empty list.

JSON is decoded by msgspec straight into the few fields that naming needs, YAML by `events` into the same.
"""

import codecs
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

import msgspec
import yaml
import yaml.reader

from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt import vmi
from ksd_ddns.kubevirt.selector import EVERYTHING, Selector
from ksd_ddns.kubevirt.vmi import Vmi, VmiObject
from ksd_ddns.vmifile.events import Events, Progress, Shape

STDIN: Final = "-"

MAX_OCTETS: Final = 1 << 30
"""Octets of one file: as many as 100,000 VMIs take."""

_CURE = "VMIs are expected as `kubectl get vmi -A -o yaml` or `-o json` writes them"
_BROKEN = "write the file again, or correct it there"
_TOO_DEEP = "it is nested too deep to be a list of VMIs"
_T = TypeVar("_T")


def read(
    path: str,
    *,
    namespaces: frozenset[str] = frozenset(),
    selector: Selector = EVERYTHING,
    progress: Progress | None = None,
) -> tuple[Vmi, ...]:
    """Return the VMIs in the file at `path` (`-`: standard input) that are in `namespaces` and match `selector`.

    No namespaces mean all of them. The file holds YAML documents, or JSON documents in a row, each of them a VMI, a
    `List` or a `VirtualMachineInstanceList`, in UTF-8 or, with a byte order mark, UTF-16, which is what a redirection
    in PowerShell writes. Its content decides which, and the order is that of the file. `progress` is called with the
    part that has been read, from 0 to 1, while reading takes time.

    SourceError: the file cannot be read, is malformed, holds anything but VMIs, or one VMI twice. An empty list is
    valid.
    """
    name = _shown(path)
    data = _utf8(name, _content(name, path))
    objects = _plain_list(data) or _objects(_documents(name, data, progress))
    vmis: list[Vmi] = []
    places: dict[str, str] = {}
    for place, obj in objects:
        key = f"{obj.namespace}/{obj.metadata.name}"
        if key in places:
            raise SourceError(
                f"{name}: the VMI {key} is in it twice, in {places[key]} and in {place}: remove the outdated one"
            )
        places[key] = place
        if (not namespaces or obj.namespace in namespaces) and selector.matches(obj.labels):
            vmis.append(vmi.parse(obj))
    return tuple(vmis)


def read_all(
    paths: Sequence[str],
    *,
    namespaces: frozenset[str] = frozenset(),
    selector: Selector = EVERYTHING,
    progress: Progress | None = None,
) -> tuple[Vmi, ...]:
    """Return the VMIs in all files at `paths` together.

    Raises SourceError as `read` does, and where one VMI is in two of the files.
    """
    found = [(path, read(path, namespaces=namespaces, selector=selector, progress=progress)) for path in paths]
    return merged(found)


def merged(found: Iterable[tuple[str, tuple[Vmi, ...]]]) -> tuple[Vmi, ...]:
    """Return the VMIs of several files, each with its path, together. Raises SourceError where two hold one VMI."""
    vmis: list[Vmi] = []
    places: dict[str, str] = {}
    for path, part in found:
        name = _shown(path)
        for item in part:
            if item.key in places:
                raise SourceError(f"the VMI {item.key} is in {places[item.key]} and in {name}: remove the outdated one")
        places.update((item.key, name) for item in part)
        vmis += part
    return tuple(vmis)


def _shown(path: str) -> str:
    return "standard input" if path == STDIN else path


def _content(name: str, path: str) -> bytes:
    if path == STDIN and sys.stdin is None:
        raise SourceError(f"{name}: it is closed; pipe `kubectl get vmi -A -o yaml` into it, or name a file")
    try:
        if path == STDIN:
            return _bounded(name, sys.stdin.buffer)
        with Path(path).open("rb") as file:
            return _bounded(name, file)
    except FileNotFoundError as e:
        raise SourceError(f"{name}: there is no such file; `kubectl get vmi -A -o yaml > FILE` writes one") from e
    except IsADirectoryError as e:
        raise SourceError(f"{name}: this is a directory; name one file in it") from e
    except PermissionError as e:
        raise SourceError(f"{name}: permission denied; let the user that runs ksd-ddns read it") from e
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise SourceError(f"{name}: cannot be read: {e}") from e


def _bounded(name: str, file: BinaryIO) -> bytes:
    """Return all of `file`, which may be a pipe or a device that never ends."""
    data = file.read(MAX_OCTETS + 1)
    if len(data) > MAX_OCTETS:
        raise SourceError(
            f"{name}: larger than {MAX_OCTETS >> 20} MiB, too large for a list of VMIs; name another file"
        )
    return data


def _utf8(name: str, data: bytes) -> bytes:
    if data.isascii():
        return data
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as e:
        raise SourceError(f"{name}: this is not text in UTF-8 (byte {e.start + 1}: {e.reason}): {_CURE}") from e
    return data if encoding == "utf-8-sig" and not data.startswith(codecs.BOM_UTF8) else text.encode()


def _documents(name: str, data: bytes, progress: Progress | None) -> "list[_Part]":
    documents = _json_documents(name, data) if _STARTS_JSON.match(data) else _yaml_documents(name, data, progress)
    if not documents:
        raise SourceError(f"{name}: it is empty, which a list without VMIs is not (did kubectl fail?): {_CURE}")
    return documents


class _Part(NamedTuple):
    """A document of the file, or an item of a list in it, not yet typed."""

    file: str
    place: str  # "$.items[3]", after "document 2, " where there are several
    value: Any
    convert: Callable[[Any, Any], Any]  # (value, type) -> value of that type
    listing: type["_JsonList"] | type["_YamlList"]

    def typed(self, into: type[_T]) -> _T:
        try:
            typed: _T = self.convert(self.value, into)
        except msgspec.ValidationError as e:
            # msgspec's message ends with the path inside of the value, and calls the value `$` as the place does.
            message, at, path = str(e).partition(" - at `$")
            raise self.error(message if at else str(e), path=path.removesuffix("`")) from e
        except msgspec.DecodeError as e:  # inside a string or a number, where Python's own decoder is more lenient
            raise self.error(f"broken JSON: {e}") from e
        except RecursionError as e:
            raise self.error(_TOO_DEEP) from e
        return typed

    def error(self, message: str, *, path: str = "") -> SourceError:
        at = f"{self.place}{path}".removesuffix(", $")
        return SourceError(f"{self.file}: {at}: {message}: {_CURE}")


class _Head(msgspec.Struct, rename="camel"):
    """What tells a VMI from a list of them, and both from everything else."""

    kind: str | None = None
    api_version: str | None = None


class _ListMeta(msgspec.Struct, rename={"token": "continue", "remaining": "remainingItemCount"}):
    """`metadata` of a list; a page of a longer one has a token to continue with, and may say how much is missing."""

    token: str | None = None
    remaining: int | None = None


class _JsonList(msgspec.Struct):
    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: _ListMeta | None = None


class _YamlList(msgspec.Struct):
    items: list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: _ListMeta | None = None


class _PlainList(_Head, rename="camel", kw_only=True):
    items: list[VmiObject]
    metadata: _ListMeta | None = None


def _is_page(metadata: _ListMeta | None) -> bool:
    return metadata is not None and bool(metadata.token or metadata.remaining)


_VMI = "VirtualMachineInstance"
_VMI_LIST = "VirtualMachineInstanceList"
_LISTS = ("List", _VMI_LIST)


def _plain_list(data: bytes) -> Iterator[tuple[str, VmiObject]] | None:
    """Return the VMIs of one JSON list and their places, in a single pass over the bytes.

    None where it is anything else, or anything is wrong with it: the long way says what.
    """
    try:
        listing = msgspec.json.decode(data, type=_PlainList)
    except (msgspec.DecodeError, RecursionError):
        return None
    if (
        listing.kind not in _LISTS
        or _is_page(listing.metadata)
        or not all(_is_vmi(item, kindless=listing.kind == _VMI_LIST) for item in listing.items)
    ):
        return None
    return ((f"$.items[{index}]", item) for index, item in enumerate(listing.items))


def _objects(documents: list[_Part]) -> Iterator[tuple[str, VmiObject]]:
    """Yield the VMIs of all documents, each with the place where it stands."""
    for document in documents:
        head = document.typed(_Head)
        if head.kind not in _LISTS:
            yield document.place.removesuffix(", $"), _vmi(document, kindless=False)
            continue
        listing = document.typed(document.listing)
        items = listing.items
        if items is msgspec.UNSET:
            raise document.error(f"this {head.kind} has no items")
        if _is_page(listing.metadata):
            raise SourceError(
                f"{document.file}: {document.place}: this {head.kind} is one page of a longer list (its metadata has "
                "continue or remainingItemCount): save all of it, with `kubectl get vmi -A -o yaml`"
            )
        for index, item in enumerate(items or ()):
            part = document._replace(place=f"{document.place}.items[{index}]", value=item)
            yield part.place, _vmi(part, kindless=head.kind == _VMI_LIST)


def _vmi(part: _Part, *, kindless: bool) -> VmiObject:
    """Return `part` as a VMI; an item of a typed list may be without a kind."""
    try:
        obj = part.typed(VmiObject)
    except SourceError:
        # Of something else than a VMI its kind is worth saying, not which field is not like a VMI's.
        _check_kind(part, part.typed(_Head), kindless=kindless)
        raise
    _check_kind(part, obj, kindless=kindless)
    return obj


def _is_vmi(head: _Head | VmiObject, *, kindless: bool) -> bool:
    group = (head.api_version or "kubevirt.io/").partition("/")[0]
    return group == "kubevirt.io" and (head.kind == _VMI or (kindless and head.kind is None))


def _check_kind(part: _Part, head: _Head | VmiObject, *, kindless: bool) -> None:
    if _is_vmi(head, kindless=kindless):
        return
    if not head.kind:
        raise part.error("found no kind: this is not a VMI, or the file is cut off")
    if head.kind == "VirtualMachine":
        raise part.error("found a VirtualMachine, which has no addresses: its VMI has, while it runs")
    raise part.error(f"found kind {head.kind[:80]!r} of {(head.api_version or 'no apiVersion')[:80]!r}, not a VMI")


# JSON

# In YAML a mapping in braces seldom starts with a quoted key, and in JSON it cannot start otherwise.
_STARTS_JSON = re.compile(rb'[ \t\r\n]*(\{[ \t\r\n]*["}]|\[)')
_SPACES = re.compile(r"[ \t\r\n]*")


def _json_documents(name: str, data: bytes) -> list[_Part]:
    documents = _split_json(name, data)
    return [
        _Part(name, f"document {number}, $" if len(documents) > 1 else "$", document, _from_json, _JsonList)
        for number, document in enumerate(documents, start=1)
    ]


def _from_json(value: bytes, into: type[_T]) -> _T:
    return msgspec.json.decode(value, type=into)


def _split_json(name: str, data: bytes) -> list[bytes]:
    """Return the JSON documents that stand in a row in `data`, usually one."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except RecursionError as e:
        raise SourceError(f"{name}: {_TOO_DEEP}") from e
    except msgspec.DecodeError:
        pass  # it is broken, or has several documents
    else:
        return [data]
    # This finds where documents end, and the line and column of an error; what it reads is not kept.
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


# YAML


def _yaml_documents(name: str, data: bytes, progress: Progress | None) -> list[_Part]:
    try:
        documents = list(Events(data, _SHAPE, progress=progress).documents())
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        at = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SourceError(f"{name}: broken YAML{at}: {e.problem or e.context}: {_BROKEN}") from e
    except yaml.reader.ReaderError as e:
        raise SourceError(f"{name}: this is not text (position {e.position}: {e.reason}): {_CURE}") from e
    return [
        _Part(name, f"document {number}, $" if len(documents) > 1 else "$", document, _from_yaml, _YamlList)
        for number, document in enumerate(documents, start=1)
        if document is not None  # nothing stands between two `---`
    ]


def _shape(info: msgspec.inspect.Type) -> Shape:
    """Return the keys that a type decodes."""
    match info:
        case msgspec.inspect.StructType(fields=fields):
            return {field.encode_name: _shape(field.type) for field in fields}
        case msgspec.inspect.ListType(item_type=item):
            return _shape(item)
        case msgspec.inspect.UnionType(types=types):
            return next((shape for shape in map(_shape, types) if shape is not None), None)
    return None


_VMI_SHAPE = _shape(msgspec.inspect.type_info(VmiObject)) or {}
_META_SHAPE = _shape(msgspec.inspect.type_info(_ListMeta)) or {}
_SHAPE: Shape = {
    **_VMI_SHAPE,
    "items": _VMI_SHAPE,
    "metadata": {**(_VMI_SHAPE["metadata"] or {}), **_META_SHAPE},
}


def _from_yaml(value: Any, into: type[_T]) -> _T:
    return msgspec.convert(value, into, strict=False)  # "true" is a bool where one is expected: scalars are text
