# SPDX-License-Identifier: Apache-2.0
"""Membership of groups, and readiness, from objects as the API gives them."""

import json
from typing import Any

import msgspec
import pytest

from harness.vmis import vmi
from ksd_ddns.kubevirt.groups import Membership
from ksd_ddns.kubevirt.vmi import Vmi, parse
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.zone.render import message

DECODER = msgspec.json.Decoder(VmiObject)


def member(group: str = "web", *, conditions: Any = None, phase: str = "Running", **metadata: Any) -> Vmi:
    """Return the parsed VMI with this annotation; with the API's conditions if none are given."""
    made = vmi("db", "prod", {"net1": ["10.1.0.9"]}, phase=phase, annotations={"ksd-ddns/group": group})
    made["metadata"].update(metadata)
    if conditions is not None:
        made["status"]["conditions"] = conditions
    return parse(DECODER.decode(json.dumps(made)))


@pytest.mark.parametrize(
    ("text", "groups", "warnings"),
    [
        pytest.param("web", [("web", "")], 0, id="one"),
        pytest.param(" Web , db ", [("web", ""), ("db", "")], 0, id="list"),
        pytest.param("web=net1, db = net2", [("web", "net1"), ("db", "net2")], 0, id="interfaces"),
        pytest.param("web,web=net1", [("web", "")], 0, id="twice"),
        pytest.param("", [], 0, id="empty"),
        pytest.param("web,,db", [("web", ""), ("db", "")], 1, id="empty-name"),
        pytest.param("=net1", [], 1, id="no-name"),
    ],
)
def test_the_annotation_lists_the_groups(text: str, groups: list[tuple[str, str]], warnings: int) -> None:
    found = member(text)
    assert list(found.groups) == [Membership(*each) for each in groups]
    assert len(found.warnings) == warnings
    assert all("ksd-ddns/group" in message.warning(each) for each in found.warnings)


READY = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize(
    ("conditions", "phase", "ready"),
    [
        pytest.param([READY], "Running", True, id="ready"),
        pytest.param([{**READY, "status": "False"}], "Running", False, id="not-ready"),
        pytest.param([{**READY, "status": "Unknown"}], "Running", False, id="unknown"),
        pytest.param([], "Running", True, id="no-condition-running"),
        pytest.param([None, {}], "Scheduled", False, id="no-condition-scheduled"),
        pytest.param([READY], "Scheduled", True, id="the-condition-counts"),
    ],
)
def test_a_member_is_ready(conditions: list[Any], phase: str, ready: bool) -> None:
    assert member(conditions=conditions, phase=phase).ready is ready


def test_a_vmi_that_is_being_deleted_is_no_member() -> None:
    found = member(deletionTimestamp="2026-01-01T00:00:00Z")
    assert found.groups == ()
    assert found.interfaces


def test_readiness_of_a_vmi_without_groups_is_no_change() -> None:
    one, other = vmi("db"), vmi("db")
    other["status"]["conditions"] = [{**READY, "status": "False"}]
    assert parse(msgspec.convert(one, VmiObject)) == parse(msgspec.convert(other, VmiObject))


@pytest.mark.parametrize(
    ("text", "ports", "wrong"),
    [
        pytest.param("http=8080", [("http", 8080, "tcp")], None, id="one"),
        pytest.param(" HTTP = 80 , dns=53/udp", [("http", 80, "tcp"), ("dns", 53, "udp")], None, id="list"),
        pytest.param("http=80,http=80/TCP", [("http", 80, "tcp")], None, id="twice"),
        pytest.param("http=80,http=81", [("http", 80, "tcp"), ("http", 81, "tcp")], None, id="two-ports"),
        pytest.param("a-1=65535", [("a-1", 65535, "tcp")], None, id="limits"),
        pytest.param("", [], None, id="empty"),
        pytest.param("http", [], "http", id="no-port"),
        pytest.param("http=0,ssh=22", [("ssh", 22, "tcp")], "http=0", id="zero"),
        pytest.param("http=65536", [], "http=65536", id="too-high"),
        pytest.param("http=+80", [], "http=+80", id="sign"),
        pytest.param("http=\u0661", [], "http=\u0661", id="digit-of-another-script"),
        pytest.param("http=80/", [], "http=80/", id="no-protocol"),
        pytest.param("http=80/sctp", [], "http=80/sctp", id="another-protocol"),
        pytest.param("_http=80", [], "_http=80", id="underscore"),
        pytest.param("80=80", [], "80=80", id="no-letter"),
        pytest.param("a--b=80", [], "a--b=80", id="two-hyphens"),
        pytest.param("-a=80", [], "-a=80", id="first-hyphen"),
        pytest.param("a\n=80", [("a", 80, "tcp")], None, id="newline"),
        pytest.param("abcdefghijklmnop=80", [], "abcdefghijklmnop=80", id="too-long"),
        pytest.param("a.b=80", [], "a.b=80", id="dot"),
        pytest.param("\u212a=80", [], "\u212a=80", id="kelvin-sign"),
        pytest.param("a=80,", [("a", 80, "tcp")], "", id="empty-entry"),
    ],
)
def test_the_annotation_lists_the_ports(text: str, ports: list[tuple[str, int, str]], wrong: str | None) -> None:
    made = vmi("db", annotations={"ksd-ddns/group": "web", "ksd-ddns/group-ports": text})
    found = parse(DECODER.decode(json.dumps(made)))
    assert [(each.name, each.number, each.protocol) for each in found.ports] == ports
    assert [each.value for each in found.warnings] == ([] if wrong is None else [wrong])
    assert all("ksd-ddns/group-ports" in message.warning(each) for each in found.warnings)


def test_ports_without_a_group_are_ignored() -> None:
    made = vmi("db", annotations={"ksd-ddns/group-ports": "http=80"})
    assert parse(DECODER.decode(json.dumps(made))) == parse(DECODER.decode(json.dumps(vmi("db"))))


def test_a_flood_of_ports_is_cut() -> None:
    text = ",".join(f"p{i}=80" for i in range(10_000))
    made = vmi("db", annotations={"ksd-ddns/group": "web", "ksd-ddns/group-ports": text})
    assert len(parse(DECODER.decode(json.dumps(made))).ports) == 100


def test_the_kelvin_sign_is_no_k() -> None:
    assert member("\u212a").groups == (Membership("\u212a"),)
