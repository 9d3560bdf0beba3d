# SPDX-License-Identifier: Apache-2.0
"""Lists as the real client gets them: pages, selectors, resourceVersions."""

import json

import pytest
from kubernetes.client.exceptions import ApiException

from harness.kube import Kube
from harness.kube.client import GROUP, PATH, PLURAL, VERSION, Client, Connect, MakeKube, names, status_of, version
from harness.vmis import vmi


def test_pages_have_one_resource_version_and_are_complete_and_in_order(kube: Kube, api: Client) -> None:
    wanted = sorted(f"ns{i % 3}/vm-{i}" for i in range(1_203))
    for name in wanted:
        kube.put(vmi(name.split("/")[1], name.split("/")[0]))
    pages = list(api.pages(500))
    assert [len(page["items"]) for page in pages] == [500, 500, 203]
    assert [page["metadata"].get("remainingItemCount") for page in pages] == [703, 203, None]
    assert {version(page) for page in pages} == {kube.revision}
    assert [name for page in pages for name in names(page)] == wanted


def test_later_pages_do_not_contain_later_changes(kube: Kube, api: Client) -> None:
    for name in "abcdef":
        kube.put(vmi(name))
    pages = api.pages(2)
    first = next(pages)
    kube.delete("default", "c")
    kube.put(vmi("d", labels={"changed": "yes"}))
    kube.put(vmi("cc"))
    rest = [item for page in pages for item in page["items"]]
    assert [item["metadata"]["name"] for item in rest] == ["c", "d", "e", "f"]
    assert "changed" not in rest[1]["metadata"]["labels"]
    assert all(version(item) <= version(first) for item in rest)


def test_a_paged_list_continues_beyond_the_history_of_watches(make_kube: MakeKube, connect: Connect) -> None:
    kube = make_kube(history=10)
    api = connect(kube)
    kube.load(vmi(name) for name in "abcdef")
    pages = api.pages(2)
    next(pages)
    kube.heartbeats(100)
    assert len(list(pages)) == 2


def test_a_full_last_page_has_no_continue_token(kube: Kube, api: Client) -> None:
    kube.load(vmi(name) for name in "abcd")
    assert [len(page["items"]) for page in api.pages(2)] == [2, 2]


def test_an_expired_continue_token_returns_410_with_an_inconsistent_token(kube: Kube, api: Client) -> None:
    kube.load(vmi(name) for name in "abcd")
    first = api.listed(limit=2)
    kube.compact()
    kube.put(vmi("cc"))
    with pytest.raises(ApiException) as error:
        api.listed(limit=2, _continue=first["metadata"]["continue"])
    status = status_of(error)
    assert (error.value.status, status["reason"], status["code"]) == (410, "Expired", 410)
    assert status["message"].startswith("The provided continue parameter is too old")
    rest = api.listed(_continue=status["metadata"]["continue"])
    assert names(rest) == ["default/c", "default/cc", "default/d"]
    assert version(rest) == kube.revision > version(first)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("!", id="not-base64"),
        pytest.param("e30", id="empty-object"),
        pytest.param("eyJ2IjoibWV0YS5rOHMuaW8vdjAiLCJydiI6MSwic3RhcnQiOiJhIn0", id="other-version"),
    ],
)
def test_a_foreign_continue_token_returns_400(api: Client, token: str) -> None:
    with pytest.raises(ApiException) as error:
        api.listed(_continue=token)
    assert error.value.status == 400
    assert status_of(error)["message"].startswith("invalid continue token")


def test_continue_and_resource_version_exclude_each_other(kube: Kube, api: Client) -> None:
    kube.load(vmi(name) for name in "abc")
    first = api.listed(limit=1)
    with pytest.raises(ApiException) as error:
        api.listed(_continue=first["metadata"]["continue"], resource_version=first["metadata"]["resourceVersion"])
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        pytest.param("tier=web", "ac", id="equal"),
        pytest.param("tier!=web", "bd", id="not-equal"),
        pytest.param("tier in (web,db)", "abc", id="in"),
        pytest.param("!tier", "d", id="absent"),
        pytest.param("tier,size=big", "c", id="both"),
    ],
)
def test_a_label_selector_selects_objects(kube: Kube, api: Client, selector: str, wanted: str) -> None:
    kube.put(vmi("a", labels={"tier": "web"}))
    kube.put(vmi("b", labels={"tier": "db"}))
    kube.put(vmi("c", labels={"tier": "web", "size": "big"}))
    kube.put(vmi("d"))
    assert names(api.listed(label_selector=selector)) == [f"default/{name}" for name in wanted]


def test_a_selected_list_has_no_remaining_count_and_may_end_in_an_empty_page(kube: Kube, api: Client) -> None:
    for name, label in zip("abcd", ("x", "x", "y", "y"), strict=True):
        kube.put(vmi(name, labels={"l": label}))
    pages = list(api.pages(2, label_selector="l=x"))
    assert [names(page) for page in pages] == [["default/a", "default/b"], []]
    assert "remainingItemCount" not in pages[0]["metadata"]


def test_an_invalid_selector_returns_400(api: Client) -> None:
    with pytest.raises(ApiException) as error:
        api.listed(label_selector="a=(")
    assert error.value.status == 400


def test_a_namespace_is_not_matched_as_a_prefix(kube: Kube, api: Client) -> None:
    for namespace in ("a", "a-b", "ab"):
        kube.put(vmi("x", namespace))
        kube.put(vmi("y", namespace))
    assert names(api.listed("a")) == ["a/x", "a/y"]
    assert names(api.listed("a", limit=1)) == ["a/x"]
    assert names(api.listed()) == ["a-b/x", "a-b/y", "a/x", "a/y", "ab/x", "ab/y"]  # by key, as etcd has it
    assert api.listed("nowhere")["items"] == []


def test_field_selectors_select_by_name_and_namespace(kube: Kube, api: Client) -> None:
    for namespace in ("a", "b"):
        kube.put(vmi("x", namespace))
        kube.put(vmi("y", namespace))
    assert names(api.listed(field_selector="metadata.namespace=b")) == ["b/x", "b/y"]
    assert names(api.listed(field_selector="metadata.namespace!=b,metadata.name==x")) == ["a/x"]
    with pytest.raises(ApiException) as error:
        api.listed(field_selector="status.phase=Running")
    assert error.value.status == 400
    assert status_of(error)["message"] == "field label not supported: status.phase"


def test_resource_version_zero_returns_the_full_cached_list(kube: Kube, api: Client) -> None:
    kube.load(vmi(name) for name in "abc")
    whole = api.listed(resource_version="0", limit=1)
    assert (len(whole["items"]), whole["metadata"]["continue"]) == (3, "")


def test_a_future_resource_version_returns_504(kube: Kube, api: Client) -> None:
    with pytest.raises(ApiException) as error:
        api.listed(resource_version=str(kube.revision + 5))
    status = status_of(error)
    assert (error.value.status, status["reason"]) == (504, "Timeout")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_an_exact_resource_version_returns_the_past_within_the_history(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    then = kube.put(vmi("b"))
    kube.delete("default", "a")
    kube.put(vmi("c"))
    exact = {"resource_version": str(then), "resource_version_match": "Exact"}
    assert names(api.listed(**exact)) == ["default/a", "default/b"]
    assert version(api.listed(**exact)) == then
    assert names(api.listed(resource_version=str(then))) == ["default/b", "default/c"]  # not older than
    kube.compact()
    with pytest.raises(ApiException) as error:
        api.listed(**exact)
    assert (error.value.status, status_of(error)["reason"]) == (410, "Expired")


def test_a_list_of_custom_objects_is_written_with_sorted_keys_and_whole_items(kube: Kube, api: Client) -> None:
    empty = api.raw(PATH)
    assert empty.data == (
        b'{"apiVersion":"kubevirt.io/v1","items":[],"kind":"VirtualMachineInstanceList",'
        b'"metadata":{"continue":"","resourceVersion":"%d"}}\n' % kube.revision
    )
    kube.put(vmi("a"))
    assert json.loads(api.raw(PATH).data)["items"][0]["kind"] == "VirtualMachineInstance"


def test_a_list_of_built_in_objects_has_items_without_kind(kube: Kube, api: Client) -> None:
    listing = json.loads(api.raw("/api/v1/namespaces", limit="1").data)
    assert list(listing) == ["kind", "apiVersion", "metadata", "items"]
    assert "kind" not in listing["items"][0]
    assert [one.metadata.name for one in api.core.list_namespace().items] == ["default", "kube-system"]


def test_a_missing_object_returns_404(kube: Kube, api: Client) -> None:
    with pytest.raises(ApiException) as error:
        api.custom.get_namespaced_custom_object(GROUP, VERSION, "default", PLURAL, "ghost")
    assert status_of(error) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'virtualmachineinstances.kubevirt.io "ghost" not found',
        "reason": "NotFound",
        "details": {"name": "ghost", "group": "kubevirt.io", "kind": "virtualmachineinstances"},
        "code": 404,
    }


def test_a_cluster_without_kubevirt_returns_404_in_plain_text(kube: Kube, api: Client) -> None:
    kube.put(vmi("a"))
    kube.uninstall()
    answer = api.raw(PATH)
    assert (answer.status, answer.data) == (404, b"404 page not found\n")
    assert answer.headers["Content-Type"].startswith("text/plain")
    kube.install()
    assert names(api.listed()) == ["default/a"]


def test_a_large_list_is_compressed_if_the_client_accepts_it(kube: Kube, api: Client) -> None:
    kube.load(vmi(f"vm-{i}", managed_fields=True) for i in range(50))
    plain = api.raw(PATH)
    packed = api.send("GET", PATH, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.data == plain.data


def test_a_connection_is_reused(kube: Kube, api: Client) -> None:
    for _ in range(5):
        api.listed()
    api.raw("/version")
    assert {request.connection for request in kube.requests()} == {1}
