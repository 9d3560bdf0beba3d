# SPDX-License-Identifier: Apache-2.0
"""The names of a VMI and of its interfaces, made from the templates INTERFACE_NAME and DEFAULT_NAME. Only here."""

from collections.abc import Callable
from functools import lru_cache

from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.wire import names
from ksd_ddns.zone.desired.hostnames import namespace_domain, relative_name
from ksd_ddns.zone.desired.rules import Rules, is_reserved
from ksd_ddns.zone.desired.templates import DEFAULT_NAME, filled, pattern

_label = lru_cache(maxsize=1024)(names.legal_label)
"""For interface names: a cluster has few different ones, used by every VMI."""


def default_name(vm: str, namespace: str, rules: Rules) -> bytes | None:
    """Return the owner name of the default record of a VMI, or None if it cannot be a DNS name."""
    text = rules.default_name.text
    if text != DEFAULT_NAME.text:
        return _absolute(filled(text, vm=vm, namespace=namespace), rules)
    domain, relative = namespace_domain(namespace, rules.base), relative_name(vm)
    if domain is None or relative is None or len(relative) + len(domain) > names.MAX_NAME:
        return None
    return relative + domain


def interface_stem(vm: str, namespace: str, rules: Rules, *, own: bytes | None) -> bytes | None:
    """Return what follows the interface's label in all interface names of a VMI, whose default name is `own`.

    It is None if the template is of another form, or if they cannot be DNS names.
    """
    if not rules.interface_name.plain:
        return None
    rest = rules.interface_name.rest
    return own if rest == rules.default_name.text else _absolute(filled(rest, vm=vm, namespace=namespace), rules)


def interface_name(vmi: Vmi, interface: str, rules: Rules, stem: bytes | None = None) -> bytes | None:
    """Return the owner name of an interface of `vmi`, or None if it cannot be a DNS name.

    `stem` is the `interface_stem` of the VMI, if the caller has it.
    """
    if stem is None:
        if not rules.interface_name.plain:
            # The pod network has no definition, and is known by its own name.
            network = vmi.networks.get(interface, "").rpartition("/")[2] or interface
            text = filled(
                rules.interface_name.text, vm=vmi.name, namespace=vmi.namespace, interface=interface, network=network
            )
            return _absolute(text, rules)
        own = default_name(vmi.name, vmi.namespace, rules)
        stem = interface_stem(vmi.name, vmi.namespace, rules, own=own)
    label = _label(interface)
    if label is None or stem is None:
        return None
    name = label + stem
    return name if len(name) <= names.MAX_NAME else None


def may_have_name(key: str, rules: Rules) -> Callable[[bytes], bool]:
    """Return a function that returns whether the templates may give a name to the VMI `namespace/name`."""
    namespace, _, vm = key.partition("/")
    own = default_name(vm, namespace, rules)
    stem = interface_stem(vm, namespace, rules, own=own)
    of_interface = pattern(rules.interface_name, vm=vm, namespace=namespace)
    base = names.to_text(rules.base)

    def may_have(name: bytes) -> bool:
        if any(above is not None and names.is_below(name, above) for above in (own, stem)):
            return True
        if not names.is_below(name, rules.base):
            return False
        relative = names.to_text(name).removesuffix(base).removesuffix(".")
        return stem is None and of_interface.fullmatch(relative) is not None

    return may_have


def _absolute(text: str, rules: Rules) -> bytes | None:
    """Return the name `text` below the base, or None if it cannot be a DNS name or is reserved for the zone itself."""
    relative = relative_name(text)
    if relative is None or len(relative) + len(rules.base) > names.MAX_NAME:
        return None
    name = relative + rules.base
    return None if is_reserved(name, rules) else name
