# SPDX-License-Identifier: Apache-2.0
"""Writes by the real client: validation, conflicts, and writes without a change."""

import concurrent.futures
import json
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from harness.kube import EVENTS, LEASES, NETWORKS, Kube
from harness.kube.client import (
    GROUP,
    PLURAL,
    VERSION,
    Client,
    Connect,
    MakeKube,
    kinds,
    names,
    posted,
    status_of,
    version,
)
from harness.vmis import vmi

# A full second would be rejected: the client's models then write MicroTime without its zeros.
NOW = "2026-03-01T08:00:00.000001Z"


def test_the_server_sets_fields_of_a_created_vmi(kube: Kube, api: Client) -> None:
    made = api.create(posted())
    metadata = made["metadata"]
    assert (metadata["generation"], metadata["namespace"], version(made)) == (1, "default", kube.revision)
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert made == kube.get("default", "a")
    with pytest.raises(ApiException) as error:
        api.create(posted())
    assert (error.value.status, status_of(error)["reason"]) == (409, "AlreadyExists")


@pytest.mark.parametrize(
    ("change", "namespace", "code", "message"),
    [
        pytest.param({}, "nowhere", 404, 'namespaces "nowhere" not found', id="no-namespace"),
        pytest.param(
            {"namespace": "kube-system"}, "default", 400, "does not match the namespace", id="other-namespace"
        ),
        pytest.param({"name": "Upper"}, "default", 422, "RFC 1123", id="illegal-name"),
        pytest.param({"name": ""}, "default", 422, "name or generateName is required", id="no-name"),
        pytest.param(
            {"resourceVersion": "5"}, "default", 500, "should not be set on objects to be created", id="version"
        ),
    ],
)
def test_an_invalid_object_cannot_be_created(
    api: Client, change: dict[str, str], namespace: str, code: int, message: str
) -> None:
    obj = posted()
    obj["metadata"] |= {"namespace": namespace} | change
    with pytest.raises(ApiException) as error:
        api.create(obj, namespace)
    assert error.value.status == code
    assert message in status_of(error)["message"]


def test_a_custom_object_needs_a_kind(api: Client) -> None:
    with pytest.raises(ApiException) as error:
        api.create({"apiVersion": "kubevirt.io/v1", "metadata": {"name": "a"}})
    assert error.value.status == 400
    with pytest.raises(ApiException) as error:
        api.create({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "a"}})
    assert "does not match the expected kind" in status_of(error)["message"]


def test_generate_name_generates_a_name(api: Client) -> None:
    obj = posted()
    del obj["metadata"]["name"]
    obj["metadata"]["generateName"] = "db-"
    name = api.create(obj)["metadata"]["name"]
    assert name.startswith("db-")
    assert len(name) == 8


def test_a_patch_can_change_the_status(kube: Kube, api: Client) -> None:
    made = api.create(posted())
    patched = api.patch({"status": {"phase": "Failed", "interfaces": [{"name": "nic1"}], "nodeName": None}})
    assert patched["status"]["phase"] == "Failed"
    assert patched["status"]["interfaces"] == [{"name": "nic1"}]
    assert "nodeName" not in patched["status"]
    assert patched["spec"] == made["spec"]
    assert patched["metadata"]["generation"] == 2
    with pytest.raises(ApiException) as error:
        api.custom.patch_namespaced_custom_object_status(GROUP, VERSION, "default", PLURAL, "a", {"status": {}})
    assert (error.value.status, error.value.body) == (404, "404 page not found\n")


def test_a_json_patch_is_applied(kube: Kube, api: Client) -> None:
    kube.put(vmi("a", labels={"x": "1"}))
    steps = [
        {"op": "test", "path": "/metadata/labels/x", "value": "1"},
        {"op": "add", "path": "/metadata/annotations/ksd-ddns~1ttl", "value": "30"},
        {"op": "remove", "path": "/status/interfaces/0"},
        {"op": "add", "path": "/status/interfaces/-", "value": {"name": "z"}},
        {"op": "replace", "path": "/status/phase", "value": "Paused"},
    ]
    patched = api.patch(steps)
    assert patched["metadata"]["annotations"]["ksd-ddns/ttl"] == "30"
    assert patched["status"]["phase"] == "Paused"
    assert patched["status"]["interfaces"][-1] == {"name": "z"}
    for wrong in ({"op": "test", "path": "/status/phase", "value": "no"}, {"op": "remove", "path": "/nothing/here"}):
        with pytest.raises(ApiException) as error:
            api.patch([wrong])
        assert error.value.status == 422


def test_other_patches_of_a_custom_object_return_415(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    answer = api.send(
        "PATCH",
        "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/a",
        {},
        headers={"Content-Type": "application/strategic-merge-patch+json"},
    )
    assert answer.status == 415


def test_a_write_without_a_change_keeps_the_version(kube: Kube, api: Client) -> None:
    before = kube.put(vmi("a", labels={"x": "1"}))
    assert version(api.patch({"metadata": {"labels": {"x": "1"}}})) == before
    assert version(api.replace(kube.get("default", "a"))) == before
    assert kube.revision == before


def test_a_label_does_not_change_the_generation(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    assert api.patch({"metadata": {"labels": {"x": "1"}}})["metadata"]["generation"] == 9


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        pytest.param({"resourceVersion": "1001"}, 409, "the object has been modified", id="stale-version"),
        pytest.param({"resourceVersion": None}, 422, "must be specified for an update", id="no-version"),
        pytest.param({"uid": "other"}, 409, "Precondition failed: UID in precondition: other", id="other-uid"),
        pytest.param({"name": "b"}, 400, "object (b) does not match the name on the URL (a)", id="other-name"),
    ],
)
def test_an_invalid_replacement_is_rejected(kube: Kube, api: Client, change: Any, code: int, message: str) -> None:
    kube.put(vmi("a"))
    obj = kube.get("default", "a")
    assert obj is not None
    obj["metadata"] |= change
    with pytest.raises(ApiException) as error:
        api.replace(obj)
    assert error.value.status == code
    assert message in status_of(error)["message"]


def test_a_patch_can_require_a_version(kube: Kube, api: Client) -> None:
    revision = kube.put(vmi("a"))
    kube.bump("default", "a")
    with pytest.raises(ApiException) as error:
        api.patch({"metadata": {"resourceVersion": str(revision), "labels": {"x": "1"}}})
    assert (error.value.status, status_of(error)["reason"]) == (409, "Conflict")


def test_a_deleted_vmi_stays_until_its_finalizers_are_removed(make_kube: MakeKube, connect: Connect) -> None:
    kube = make_kube(controllers=False)
    api = connect(kube)
    begin = kube.put(vmi("a"))
    going = api.remove()
    assert going["metadata"]["deletionTimestamp"]
    assert api.listed()["items"]
    api.patch({"metadata": {"finalizers": None}})
    assert not api.listed()["items"]
    assert kinds(api.watched(kube, begin)) == ["MODIFIED", "DELETED"]


def test_deletion_removes_the_finalizers_like_the_controllers(kube: Kube, api: Client) -> None:
    begin = kube.put(vmi("a"))
    api.remove()
    assert kinds(api.watched(kube, begin)) == ["MODIFIED", "DELETED"]
    api.create(posted("b"))
    gone = api.remove("b")
    assert (gone["kind"], gone["status"]) == ("Status", "Success")


def test_a_collection_is_deleted_by_selector(kube: Kube, api: Client) -> None:
    kube.put(vmi("a", labels={"x": "1"}))
    kube.put(vmi("b"))
    api.custom.delete_collection_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, label_selector="x=1")
    assert names(api.listed()) == ["default/b"]


def test_a_dry_run_is_rejected(api: Client) -> None:
    answer = api.send("POST", "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances?dryRun=All", posted())
    assert answer.status == 501


def lease(**spec: Any) -> Any:
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": NOW} | spec
    return {"metadata": {"name": "ksd-ddns"}, "spec": spec}


def test_a_lease_is_acquired_once_and_renewed_only_at_the_current_version(api: Client) -> None:
    made = api.leases.create_namespaced_lease("default", lease())
    with pytest.raises(ApiException) as error:
        api.leases.create_namespaced_lease("default", lease(holderIdentity="other"))
    assert (error.value.status, status_of(error)["reason"]) == (409, "AlreadyExists")
    mine = api.leases.read_namespaced_lease("ksd-ddns", "default")
    other = api.leases.read_namespaced_lease("ksd-ddns", "default")
    mine.spec.holder_identity = "me again"
    mine.spec.renew_time = "2026-03-01T08:00:05.000001Z"
    renewed = api.leases.replace_namespaced_lease("ksd-ddns", "default", mine)
    assert int(renewed.metadata.resource_version) > int(made.metadata.resource_version)
    other.spec.holder_identity = "other"
    other.spec.renew_time = "2026-03-01T08:00:06.000001Z"
    with pytest.raises(ApiException) as error:
        api.leases.replace_namespaced_lease("ksd-ddns", "default", other)
    assert status_of(error)["message"] == (
        'Operation cannot be fulfilled on leases.coordination.k8s.io "ksd-ddns": the object has been modified; please '
        "apply your changes to the latest version and try again"
    )
    assert status_of(error)["details"] == {"name": "ksd-ddns", "group": "coordination.k8s.io", "kind": "leases"}


def test_one_of_many_candidates_gets_the_lease(kube: Kube, api: Client) -> None:
    api.leases.create_namespaced_lease("default", lease(holderIdentity=""))
    seen = api.api.sanitize_for_serialization(api.leases.read_namespaced_lease("ksd-ddns", "default"))
    seen["spec"]["renewTime"] = NOW

    def take(number: int) -> int:
        wanted = {**seen, "spec": {**seen["spec"], "holderIdentity": f"candidate-{number}"}}
        path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/ksd-ddns"
        return api.send("PUT", path, wanted).status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(take, range(8)))
    assert codes == [200] + [409] * 7


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        pytest.param({"renewTime": "2026-03-01T08:00:00Z"}, 400, 'cannot parse "2026-03-01T08:00:00Z"', id="seconds"),
        pytest.param(
            {"acquireTime": "2026-03-01T08:00:00.123Z"}, 400, "cannot be handled as a Lease", id="milliseconds"
        ),
        pytest.param({"leaseDurationSeconds": 0}, 422, "must be greater than 0", id="no-duration"),
    ],
)
def test_an_invalid_lease_is_rejected(api: Client, spec: Any, code: int, message: str) -> None:
    answer = api.send("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", lease(**spec))
    assert answer.status == code
    assert message in json.loads(answer.data)["message"]


def test_an_update_creates_a_lease_unless_it_has_a_version(kube: Kube, api: Client) -> None:
    made = api.leases.replace_namespaced_lease("ksd-ddns", "default", lease())
    assert made.spec.holder_identity == "me"
    kube.delete("default", "ksd-ddns", LEASES)
    stale = lease()
    stale["metadata"]["resourceVersion"] = made.metadata.resource_version
    with pytest.raises(ApiException) as error:
        api.leases.replace_namespaced_lease("ksd-ddns", "default", stale)
    assert error.value.status == 409
    with pytest.raises(ApiException) as error:
        api.leases.create_namespaced_lease("nowhere", lease())
    assert error.value.status == 404


def event(**fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "a.17f", "namespace": "default"},
        "involvedObject": {"kind": "VirtualMachineInstance", "namespace": "default", "name": "a"},
        "reason": "Conflict",
        "message": "taken",
        "type": "Warning",
        "count": 1,
        "firstTimestamp": "2026-03-01T08:00:00Z",
        "lastTimestamp": "2026-03-01T08:00:00Z",
        "source": {"component": "ksd-ddns"},
    } | fields


def test_a_patch_increases_the_count_of_an_event(kube: Kube, api: Client) -> None:
    api.core.create_namespaced_event("default", event())
    api.core.patch_namespaced_event("a.17f", "default", {"count": 2, "lastTimestamp": "2026-03-01T08:01:00Z"})
    found = api.core.list_namespaced_event("default", field_selector="involvedObject.name=a,reason=Conflict").items
    assert [(one.count, one.message) for one in found] == [(2, "taken")]
    assert api.core.list_event_for_all_namespaces(field_selector="type=Normal").items == []
    assert [one["count"] for one in kube.events] == [2]


def new_event(**fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"generateName": "a."},
        "regarding": {"kind": "VirtualMachineInstance", "namespace": "default", "name": "a", "uid": "u"},
        "eventTime": NOW,
        "type": "Normal",
        "reason": "Published",
        "action": "Publish",
        "note": "in DNS",
        "reportingController": "ksd-ddns",
        "reportingInstance": "ksd-ddns-0",
    } | fields


def test_both_event_apis_show_the_same_events(kube: Kube, api: Client) -> None:
    created = api.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", new_event())
    assert created.status == 201
    made = json.loads(created.data)
    assert (made["apiVersion"], made["note"], made["regarding"]["name"]) == ("events.k8s.io/v1", "in DNS", "a")
    shown = api.core.read_namespaced_event(made["metadata"]["name"], "default")
    assert (shown.message, shown.involved_object.name) == ("in DNS", "a")
    assert shown.reporting_component == "ksd-ddns"
    api.core.create_namespaced_event("default", event())
    listing = json.loads(api.raw("/apis/events.k8s.io/v1/events").data)
    assert [one.get("deprecatedCount") for one in listing["items"]] == [1, None]
    assert len(kube.objects(EVENTS)) == 2


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        pytest.param({"eventTime": None}, 422, "eventTime: Required value", id="no-time"),
        pytest.param({"eventTime": "2026-03-01T08:00:00Z"}, 400, "cannot be handled as a Event", id="short-time"),
        pytest.param({"type": "Bad"}, 422, "type: Invalid value", id="type"),
        pytest.param({"action": ""}, 422, "action: Required value", id="no-action"),
        pytest.param({"reportingController": None}, 422, "reportingController: Required value", id="no-controller"),
        pytest.param({"reportingInstance": "x" * 129}, 422, "at most 128 characters", id="long-instance"),
        pytest.param({"note": "x" * 1025}, 422, "at most 1024 characters", id="long-note"),
        pytest.param({"deprecatedCount": 3}, 422, "count: Invalid value", id="old-fields"),
    ],
)
def test_an_invalid_event_is_rejected(api: Client, fields: Any, code: int, message: str) -> None:
    answer = api.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", new_event(**fields))
    assert answer.status == code
    assert message in json.loads(answer.data)["message"]


def test_an_event_must_be_in_the_namespace_of_its_object(api: Client) -> None:
    body = event(involvedObject={"kind": "VirtualMachineInstance", "namespace": "kube-system", "name": "a"})
    with pytest.raises(ApiException) as error:
        api.core.create_namespaced_event("default", body)
    assert error.value.status == 422
    assert "does not match event.namespace" in status_of(error)["message"]


def test_the_uid_of_kube_system_identifies_the_cluster(kube: Kube, api: Client) -> None:
    assert api.core.read_namespace("kube-system").metadata.uid == kube.kube_system_uid


def test_a_deleted_namespace_deletes_its_objects(kube: Kube, api: Client) -> None:
    api.core.create_namespace({"metadata": {"name": "test"}})
    networks = ("k8s.cni.cncf.io", "v1", "test", "network-attachment-definitions")
    definition = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                  "metadata": {"name": "net"}, "spec": {"config": "{}"}}  # fmt: skip
    api.custom.create_namespaced_custom_object(*networks, definition)
    api.create(posted() | {"metadata": {"name": "a"}}, "test")
    begin = kube.revision
    api.core.delete_namespace("test")
    assert api.custom.list_namespaced_custom_object(*networks)["items"] == []
    assert kube.objects(NETWORKS) == []
    assert kinds(api.watched(kube, begin)) == ["DELETED"]
    with pytest.raises(ApiException):
        api.core.read_namespace("test")
