# SPDX-License-Identifier: Apache-2.0
"""Names by INTERFACE_NAME and DEFAULT_NAME."""

import re

import pytest

from ksd_ddns.wire import names
from ksd_ddns.zone.desired import DEFAULT_NAME, Rules, desired, interface_name, may_have_name, template
from tests.zone.build import n, ptr, txt_rules, vmi
from tests.zone.test_desired import warnings


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("{nic}.{vm}", "{nic} is not a field: use {interface}, {network}, {vm}, {namespace}", id="unknown"),
        pytest.param("{}.{vm}", "{} is not a field", id="empty field"),
        pytest.param("{VM}", "{VM} is not a field", id="upper case"),
        pytest.param("{vm}.", "remove the final dot", id="final dot"),
        pytest.param("{vm", "a brace in the label '{vm' has no partner", id="open brace"),
        pytest.param("vm}.x", "a brace in the label 'vm}' has no partner", id="closing brace"),
        pytest.param("{{vm}}", "has no partner", id="double braces"),
        pytest.param("{vm}..x", "'' is not a valid label", id="empty label"),
        pytest.param("", "'' is not a valid label", id="empty"),
        pytest.param("{vm}.a b", "'a b' is not a valid label", id="space"),
        pytest.param("{vm}.*", "'*' is not a valid label", id="asterisk"),
        pytest.param("{vm}.ü", "'ü' is not a valid label", id="not ASCII"),
        pytest.param("{vm}." + 64 * "l", "is not a valid label", id="64 octets"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        template(text)


def by(interface: str = "{interface}.{vm}.{namespace}", default: str = "{vm}.{namespace}", **more: object) -> Rules:
    """Return rules with these templates."""
    return txt_rules(interface_name=template(interface), default_name=template(default), **more)


DB = vmi("db", interfaces={"net1": ["10.1.0.1"], "net2": ["10.2.0.1"]}, definitions={"net1": "infra/vlan-10"})


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        pytest.param(by(), "db.prod net1.db.prod net2.db.prod", id="defaults"),
        pytest.param(by("{vm}-{interface}.{namespace}"), "db.prod db-net1.prod db-net2.prod", id="one label"),
        pytest.param(by("{network}.{vm}.{namespace}"), "db.prod vlan-10.db.prod net2.db.prod", id="network"),
        pytest.param(by("NIC-{interface}.{vm}.{namespace}"), "db.prod nic-net1.db.prod nic-net2.db.prod", id="literal"),
        pytest.param(by("{interface}.{vm}.vms.{namespace}"), "db.prod net1.db.vms.prod net2.db.vms.prod", id="rest"),
        pytest.param(by(default="{vm}.vms.{namespace}"), "db.vms.prod net1.db.prod net2.db.prod", id="default"),
        pytest.param(by("{vm}.{interface}.{namespace}"), "db.prod db.net1.prod db.net2.prod", id="order"),
        pytest.param(by("{interface}.{vm}", "{vm}"), "db net1.db net2.db", id="no namespace"),
        pytest.param(by("{interface}.{vm}-{namespace}", "{vm}-{namespace}"),
                     "db-prod net1.db-prod net2.db-prod", id="namespace in a label"),
        pytest.param(by("{vm}.{interface}.{namespace}", default_record=False),
                     "db.net1.prod db.net2.prod", id="no default record"),
    ],
)  # fmt: skip
def test_templates_make_the_names(rules: Rules, want: str) -> None:
    found = desired([DB], rules)
    assert {names.to_text(name).removesuffix(".vm.example.") for name in found.names()} == set(want.split())
    # One place makes them: hold-down and explanations ask for the same names.
    for nic in ("net1", "net2"):
        name = interface_name(DB, nic, rules)
        assert name in set(found.names())
        assert may_have_name("prod/db", rules)(name)


def test_reverse_records_point_to_the_names_of_the_template() -> None:
    rules = by("{vm}-{interface}.{namespace}", reverse=n("10.in-addr.arpa."), zone=n("10.in-addr.arpa."))
    node = desired([DB], rules).get(n("1.0.1.10.in-addr.arpa."))
    assert node is not None
    assert node.rrsets[0] == ptr("db-net1.prod.vm.example.")


@pytest.mark.parametrize(
    ("rules", "of", "want"),
    [
        pytest.param(by("{network}.{vm}.{namespace}"),
                     vmi(interfaces={"a": ["10.1.0.1"], "b": ["10.1.0.2"]}, definitions={"a": "net", "b": "prod/net"}),
                     "interface 'b' has the DNS name of another interface", id="two interfaces on one network"),
        pytest.param(by(f"{60 * 'x'}-{{interface}}.{{vm}}.{{namespace}}"), vmi(),
                     "interface 'net1' cannot be a DNS name", id="too long a label"),
        pytest.param(by("{vm}-{interface}", "{vm}"), vmi("ns"), "ns.prod cannot be a DNS name", id="the name server's"),
        pytest.param(by("db.{interface}.{vm}.{namespace}", "db.net1.{vm}.{namespace}"), vmi(),
                     "interface 'net1' has the DNS name of another", id="the default record's"),
    ],
)  # fmt: skip
def test_what_a_template_makes_impossible_has_a_warning(rules: Rules, of: object, want: str) -> None:
    (text,) = warnings(desired([of], rules))  # type: ignore[list-item]
    assert want in text


def test_a_dotted_definition_gives_several_labels() -> None:
    of = vmi(definitions={"net1": "vlan.10"})
    assert interface_name(of, "net1", by("{network}.{vm}.{namespace}")) == n("vlan.10.db.prod.vm.example.")


@pytest.mark.parametrize(
    ("rules", "name", "want"),
    [
        pytest.param(by(), "net9.db.prod", True, id="stem"),
        pytest.param(by(), "net9.web.prod", False, id="another VM"),
        pytest.param(by("{vm}-{interface}.{namespace}"), "db-net9.prod", True, id="pattern"),
        pytest.param(by("{vm}-{interface}.{namespace}"), "dbx-net9.prod", False, id="pattern of another VM"),
        pytest.param(by("{vm}-{interface}.{namespace}"), "db-net9.test", False, id="pattern in another namespace"),
    ],
)
def test_old_names_of_a_vm_are_recognized(rules: Rules, name: str, want: bool) -> None:
    assert may_have_name("prod/db", rules)(n(f"{name}.vm.example.")) is want


def test_the_namespace_shows_in_names_that_end_with_it() -> None:
    assert DEFAULT_NAME.ends_with_namespace
    assert not template("{vm}.x{namespace}").ends_with_namespace
    assert not template("{namespace}.{vm}").ends_with_namespace
