# SPDX-License-Identifier: Apache-2.0
"""Membership of groups, and readiness, from objects as the API gives them."""

import json
from typing import Any

import msgspec
import pytest

from harness.vmis import vmi
from ksd_ddns.kubevirt.vmi import Membership, Vmi, parse
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
        pytest.param("web,,db", [("web", "")], 1, id="empty-name"),
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
