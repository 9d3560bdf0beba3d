# SPDX-License-Identifier: Apache-2.0
"""Templates of names below the base: `{interface}.{vm}.{namespace}`."""

import re

import msgspec

from ksd_ddns.wire import names

FIELDS = ("interface", "network", "vm", "namespace")

_FIELD = re.compile(r"\{([^{}]*)\}")


class Template(msgspec.Struct, frozen=True):
    """A template of names: labels of letters, digits, hyphens, underscores and FIELDS in braces.

    `head` is its first label, `rest` the others; `plain`: the head is the interface, and the rest depends on the VMI
    only.
    """

    text: str
    head: str
    rest: str
    plain: bool

    @property
    def fields(self) -> frozenset[str]:
        """The fields in it."""
        return frozenset(_FIELD.findall(self.text))

    @property
    def ends_with_namespace(self) -> bool:
        """Whether the last label is the namespace, so that names of two namespaces never meet."""
        return self.text.rpartition(".")[2] == "{namespace}"

    def __str__(self) -> str:
        return self.text


def template(text: str) -> Template:
    """Return the template in `text`. Raises ValueError with the cause and the cure."""
    unknown = [field for field in _FIELD.findall(text) if field not in FIELDS]
    if unknown:
        known = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise ValueError(f"{{{unknown[0]}}} is not a field: use {known}")
    if text.endswith("."):
        raise ValueError("it ends with a dot, but names are relative to the base: remove the final dot")
    for label in text.split("."):
        sample = _FIELD.sub("x", label)
        if "{" in sample or "}" in sample:
            raise ValueError(f"a brace in the label {label!r} has no partner: write fields as {{vm}}")
        if names.legal_label(sample) is None:
            raise ValueError(
                f"{label!r} is not a valid label: use 1 to {names.MAX_LABEL} letters, digits, hyphens and underscores"
            )
    head, _, rest = text.lower().partition(".")
    varies = "{interface}" in rest or "{network}" in rest
    return Template(text.lower(), head, rest, head == "{interface}" and bool(rest) and not varies)


INTERFACE_NAME = template("{interface}.{vm}.{namespace}")
DEFAULT_NAME = template("{vm}.{namespace}")


def filled(text: str, *, vm: str, namespace: str, interface: str = "", network: str = "") -> str:
    """Return the template in `text` with these values."""
    values = {"vm": vm, "namespace": namespace, "interface": interface, "network": network}
    return _FIELD.sub(lambda field: values[field[1]], text)


def pattern(of: Template, *, vm: str, namespace: str) -> re.Pattern[str]:
    """Return what the names of the interfaces of a VMI match, in lower case, without the base."""
    fields = {"vm": re.escape(vm.lower()), "namespace": re.escape(namespace.lower())}
    parts = _FIELD.split(of.text)  # texts and fields in turn
    found = [fields.get(part, "[a-z0-9_.-]+") if index % 2 else re.escape(part) for index, part in enumerate(parts)]
    return re.compile("".join(found))
