# SPDX-License-Identifier: Apache-2.0
"""VMIs from a file, as `kubectl get vmi -A -o yaml` or `-o json` writes them.

A file that cannot be read completely gives no VMIs at all: half a file would look like deletions. So a truncated file
is an error even if the rest is well-formed: a list needs `items` and `kind`, and kubectl writes `kind` last. An empty
file is what a failed kubectl leaves behind, not an empty list.
"""

import codecs
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt.selection import EVERYTHING, Selection
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.vmifile.documents import CURE, Document, ListMeta, documents
from ksd_ddns.vmifile.events import Progress

STDIN: Final = "-"

MAX_OCTETS: Final = 1 << 30
"""Octets of one file: as many as 100,000 VMIs take."""


def read(
    path: str,
    selection: Selection = EVERYTHING,
    *,
    progress: Progress | None = None,
    max_octets: int = MAX_OCTETS,
) -> tuple[Vmi, ...]:
    """Return the VMIs in the file at `path` (`-`: standard input) that `selection` includes.

    The file holds YAML documents or consecutive JSON documents, each a VMI, a `List` or a
    `VirtualMachineInstanceList`. It is in UTF-8 or, with a byte order mark, UTF-16, which a redirection in PowerShell
    writes. The order is that of the file. `progress` is called with the part read so far, from 0 to 1.

    Raises SourceError if the file cannot be read, is larger than `max_octets`, is malformed, or contains anything but
    VMIs, or one VMI twice. An empty list is valid.
    """
    return tuple(selection.parse(obj) for obj in _unique(path, progress, max_octets) if selection.includes(obj))


def read_objects(path: str) -> tuple[VmiObject, ...]:
    """Return all VMIs in the file at `path` as they are written there. Raises SourceError as `read` does."""
    return tuple(_unique(path, None, MAX_OCTETS))


def _unique(path: str, progress: Progress | None, max_octets: int) -> Iterator[VmiObject]:
    """Yield the VMIs in the file at `path`. Raises SourceError if one is in it twice."""
    name = _shown(path)
    data = _utf8(name, _content(name, path, max_octets))
    objects = _plain_list(data) or _objects(documents(name, data, progress))
    places: dict[str, str] = {}
    for place, obj in objects:
        key = f"{obj.namespace}/{obj.metadata.name}"
        if key in places:
            raise SourceError(
                f"{name}: the VMI {key} is in it twice, in {places[key]} and in {place}: remove the outdated one"
            )
        places[key] = place
        yield obj


def read_all(
    paths: Sequence[str],
    selection: Selection = EVERYTHING,
    *,
    progress: Progress | None = None,
    max_octets: int = MAX_OCTETS,
) -> tuple[Vmi, ...]:
    """Return the VMIs of all files at `paths` together.

    Raises SourceError as `read` does, and if two of the files contain the same VMI.
    """
    return merged((path, read(path, selection, progress=progress, max_octets=max_octets)) for path in paths)


def merged(found: Iterable[tuple[str, tuple[Vmi, ...]]]) -> tuple[Vmi, ...]:
    """Return the VMIs of several files, each with its path. Raises SourceError if two contain the same VMI."""
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


def _content(name: str, path: str, max_octets: int) -> bytes:
    if path == STDIN and sys.stdin is None:
        raise SourceError(f"{name}: it is closed; pipe `kubectl get vmi -A -o yaml` into it, or name a file")
    try:
        if path == STDIN:
            return _bounded(name, sys.stdin.buffer, max_octets)
        with Path(path).open("rb") as file:
            return _bounded(name, file, max_octets)
    except FileNotFoundError as e:
        raise SourceError(f"{name}: there is no such file; `kubectl get vmi -A -o yaml > FILE` writes one") from e
    except IsADirectoryError as e:
        raise SourceError(f"{name}: this is a directory; name one file in it") from e
    except PermissionError as e:
        raise SourceError(f"{name}: permission denied; let the user that runs ksd-ddns read it") from e
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise SourceError(f"{name}: cannot be read: {e}") from e


def _bounded(name: str, file: BinaryIO, max_octets: int) -> bytes:
    """Return all of `file`, which may be a pipe or a device that never ends."""
    data = file.read(max_octets + 1)
    if len(data) > max_octets:
        raise SourceError(
            f"{name}: larger than {max_octets >> 20} MiB, too large for a list of VMIs; name another file"
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
        raise SourceError(f"{name}: this is not text in UTF-8 (byte {e.start + 1}: {e.reason}): {CURE}") from e
    return data if encoding == "utf-8-sig" and not data.startswith(codecs.BOM_UTF8) else text.encode()


class _Head(msgspec.Struct, rename="camel"):
    """The fields that identify the type of an object."""

    kind: str | None = None
    api_version: str | None = None


class _PlainList(_Head, rename="camel", kw_only=True):
    items: list[VmiObject]
    metadata: ListMeta | None = None


def _is_page(metadata: ListMeta | None) -> bool:
    return metadata is not None and bool(metadata.token or metadata.remaining)


_VMI = "VirtualMachineInstance"
_VMI_LIST = "VirtualMachineInstanceList"
_LISTS = ("List", _VMI_LIST)


def _plain_list(data: bytes) -> Iterator[tuple[str, VmiObject]] | None:
    """Return the VMIs of a single JSON list and their places, in one pass over the bytes.

    Returns None for anything else, and for invalid input, so that the slow path describes the error.
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


def _objects(found: list[Document]) -> Iterator[tuple[str, VmiObject]]:
    """Yield the VMIs of all documents, each with its place."""
    for document in found:
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


def _vmi(part: Document, *, kindless: bool) -> VmiObject:
    """Return `part` as a VMI; an item of a typed list may lack a kind."""
    try:
        obj = part.typed(VmiObject)
    except SourceError:
        # For another kind of object, report its kind, not the field that a VMI has differently.
        _check_kind(part, part.typed(_Head), kindless=kindless)
        raise
    _check_kind(part, obj, kindless=kindless)
    return obj


def _is_vmi(head: _Head | VmiObject, *, kindless: bool) -> bool:
    group = (head.api_version or "kubevirt.io/").partition("/")[0]
    return group == "kubevirt.io" and (head.kind == _VMI or (kindless and head.kind is None))


def _check_kind(part: Document, head: _Head | VmiObject, *, kindless: bool) -> None:
    if _is_vmi(head, kindless=kindless):
        return
    if not head.kind:
        raise part.error("found no kind: this is not a VMI, or the file is cut off")
    if head.kind == "VirtualMachine":
        raise part.error("found a VirtualMachine, which has no addresses: its VMI has, while it runs")
    raise part.error(f"found kind {head.kind[:80]!r} of {(head.api_version or 'no apiVersion')[:80]!r}, not a VMI")
