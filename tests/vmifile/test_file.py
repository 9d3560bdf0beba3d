# SPDX-License-Identifier: Apache-2.0
"""VMIs from files: the output of kubectl is parsed, everything else is rejected completely, with file and place."""

import io
import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.vmis import as_json, as_yaml, listing, vmi
from ksd_ddns import vmifile
from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt import selector
from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.kubevirt.vmi import Vmi
from ksd_ddns.vmifile import read_all

File = Callable[[bytes | str], str]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Write the content to a file and return its path."""

    def write(content: bytes | str) -> str:
        path = tmp_path / "vmis"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.fixture(params=["libyaml", "python"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with libyaml, and with the PyYAML parser that replaces it if it is missing."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")


def keys(vmis: tuple[Vmi, ...]) -> list[str]:
    return [vmi.key for vmi in vmis]


DB = vmi("db", "prod", {"net1": ["10.1.0.9", "fd00::9"]}, labels={"app": "db"}, annotations={"ksd-ddns/ttl": "30"})
WEB = vmi("web", "test", {"net1": ["10.1.0.10"]}, labels={"app": "web"})


@pytest.mark.parametrize("write", [as_json, as_yaml])
@pytest.mark.parametrize(
    "documents",
    [
        pytest.param([listing([DB, WEB])], id="List"),
        pytest.param([listing([DB, WEB], kind="VirtualMachineInstanceList")], id="VirtualMachineInstanceList"),
        pytest.param([DB, WEB], id="documents"),
        pytest.param([DB, listing([]), listing([WEB])], id="documents-and-lists"),
    ],
)
@pytest.mark.usefixtures("loader")
def test_output_of_kubectl_is_parsed(file: File, write: Callable[..., bytes], documents: list[dict[str, Any]]) -> None:
    db, web = vmifile.read(file(write(*documents)))
    assert (db.key, web.key) == ("prod/db", "test/web")
    assert [(interface.name, interface.addresses) for interface in db.interfaces] == [
        ("net1", (bytes([10, 1, 0, 9]), bytes.fromhex("fd000000000000000000000000000009")))
    ]
    assert db.uid == DB["metadata"]["uid"]
    assert db.created == 1772352000
    assert set(db.networks) == {"net1"}
    assert db.ttl == 30
    assert (db.warnings, web.warnings) == ((), ())


def test_a_single_vmi_is_parsed(file: File) -> None:
    assert vmifile.read(file(as_yaml(DB))) == vmifile.read(file(as_json(DB)))


def test_items_may_lack_a_kind(file: File) -> None:
    items = [{key: value for key, value in DB.items() if key not in ("apiVersion", "kind")}]
    assert keys(vmifile.read(file(as_json(listing(items, kind="VirtualMachineInstanceList"))))) == ["prod/db"]


@pytest.mark.parametrize("write", [as_json, as_yaml])
@pytest.mark.parametrize("empty", [listing([]), {"kind": "List", "items": None}], ids=["empty", "null"])
def test_an_empty_list_has_no_vmis(file: File, write: Callable[..., bytes], empty: dict[str, Any]) -> None:
    assert vmifile.read(file(write(empty))) == ()


@pytest.mark.parametrize("write", [as_json, as_yaml])
@pytest.mark.parametrize("kind", ["List", "VirtualMachineInstanceList"])
@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"continue": "eyJ2IjoibWV0YS5r", "remainingItemCount": 1}, id="both"),
        pytest.param({"continue": "eyJ2IjoibWV0YS5r", "resourceVersion": "7"}, id="continue"),
        pytest.param({"remainingItemCount": 12}, id="remaining"),
    ],
)
@pytest.mark.usefixtures("loader")
def test_one_page_of_a_list_is_an_error(
    file: File, write: Callable[..., bytes], kind: str, metadata: dict[str, Any]
) -> None:
    """A VMI that is on the next page would look deleted."""
    page = {**listing([DB], kind=kind), "metadata": metadata}
    with pytest.raises(SourceError, match=r"document 2, \$: .* is one page .*kubectl get vmi -A -o yaml"):
        vmifile.read(file(write(WEB, page)))


@pytest.mark.parametrize("write", [as_json, as_yaml])
@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"continue": "", "resourceVersion": "7", "selfLink": ""}, id="empty"),
        pytest.param({"continue": None, "remainingItemCount": None}, id="null"),
        pytest.param(None, id="none"),
    ],
)
@pytest.mark.usefixtures("loader")
def test_the_last_page_is_accepted_as_a_list(
    file: File, write: Callable[..., bytes], metadata: dict[str, Any] | None
) -> None:
    assert keys(vmifile.read(file(write({**listing([DB]), "metadata": metadata})))) == ["prod/db"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + as_yaml(DB), id="yaml-bom"),
        pytest.param(b"\xef\xbb\xbf" + as_json(DB), id="json-bom"),
        pytest.param(as_yaml(DB).decode().encode("utf-16"), id="yaml-of-powershell"),
        pytest.param(as_json(DB).decode().encode("utf-16"), id="json-of-powershell"),
        pytest.param(b"\xfe\xff" + as_json(DB).decode().encode("utf-16-be"), id="utf-16-be"),
        pytest.param(as_yaml(DB).replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(b"# prod\n---\n" + as_yaml(DB) + b"---\n...\n", id="empty-documents"),
        pytest.param(b"--- " + json.dumps(DB).encode(), id="json-as-yaml"),
        pytest.param(b"\n\t " + json.dumps(DB).encode(), id="spaces-before-json"),
    ],
)
def test_encodings_and_document_markers_make_no_difference(file: File, content: bytes) -> None:
    assert vmifile.read(file(content)) == vmifile.read(file(as_json(DB)))


@pytest.mark.parametrize("between", ["", " ", "\n", "\r\n\t"])
def test_consecutive_json_documents_are_parsed(file: File, between: str) -> None:
    assert keys(vmifile.read(file(between.join(map(json.dumps, [DB, WEB]))))) == ["prod/db", "test/web"]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(as_yaml(DB, WEB))))
    assert keys(vmifile.read("-")) == ["prod/db", "test/web"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"kind: [}")))
    with pytest.raises(SourceError, match=r"^standard input: broken YAML in line 1, column 8"):
        vmifile.read("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match=r"^standard input: it is closed"):
        vmifile.read("-")


@pytest.mark.parametrize(
    ("namespaces", "labels", "want"),
    [
        pytest.param([], "", ["prod/db", "test/web", "default/x"], id="everything"),
        pytest.param(["prod"], "", ["prod/db"], id="namespace"),
        pytest.param(["prod", "default"], "", ["prod/db", "default/x"], id="namespaces"),
        pytest.param(["none"], "", [], id="no-such-namespace"),
        pytest.param([], "app=web", ["test/web"], id="label"),
        pytest.param([], "app!=web", ["prod/db", "default/x"], id="label-absent"),
        pytest.param(["prod"], "app in (web)", [], id="both"),
        pytest.param([], "version=1.10", ["default/x"], id="unquoted-number-in-yaml"),
    ],
)
def test_namespaces_and_labels_select_vmis(file: File, namespaces: list[str], labels: str, want: list[str]) -> None:
    x = "kind: VirtualMachineInstance\nmetadata: {name: x, labels: {version: 1.10}}\n"
    path = file(as_yaml(DB, WEB) + b"---\n" + x.encode())
    assert (
        keys(vmifile.read(path, Selection(namespaces=frozenset(namespaces), selector=selector.parse(labels)))) == want
    )


@pytest.mark.usefixtures("loader")
def test_yaml_scalars_keep_their_text(file: File) -> None:
    path = file("""
kind: VirtualMachineInstance
metadata: {name: on, namespace: 0123, uid: 1e3, creationTimestamp: 2026-03-01T08:00:00Z}
spec:
  networks:
  - {name: yes, multus: {default: true}}
  - {name: 12:30, pod: ~}
  - {name: "null", pod: null}
  - name: ~
status:
  interfaces:
  - {name: yes, ipAddress: 10.0.0.1}
  - {name: 12:30, ipAddresses: [fd00::1, "null", null, ]}
""")
    (vmi,) = vmifile.read(path)
    assert (vmi.key, vmi.uid, vmi.created) == ("0123/on", "1e3", 1772352000)
    assert set(vmi.networks) == {"12:30", "null"}
    assert [interface.name for interface in vmi.interfaces] == ["12:30"]
    (warning,) = vmi.warnings
    assert warning.value == "null"


@pytest.mark.usefixtures("loader")
def test_anchors_aliases_and_merge_keys_are_resolved(file: File) -> None:
    path = file("""
base: &base
  extra: [&nic {name: net1, mac: x, ipAddress: 10.0.0.1}]
  <<: {apiVersion: kubevirt.io/v1}
  kind: VirtualMachineInstance
kind: List
items:
- <<: *base
  metadata: &meta {name: a, namespace: ns, uid: from-a}
  status: &status {interfaces: [*nic]}
- <<: [{metadata: {name: first}}, {metadata: {name: second}}, *base]
  status: *status
- <<: *base
  metadata: {<<: *meta, name: b}
  ? status
  : *status
- kind: VirtualMachineInstance
  metadata: {name: c, namespace: ns, uid: from-a}
  spec: &both {interfaces: [{name: net1, ipAddress: 10.0.0.1}]}
  status: *both
""")
    vmis = vmifile.read(path)
    assert keys(vmis) == ["ns/a", "default/first", "ns/b", "ns/c"]
    assert [vmi.uid for vmi in vmis] == ["from-a", "", "from-a", "from-a"]
    assert [len(vmi.interfaces) for vmi in vmis] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", ["empty", "did kubectl fail"], id="empty"),
        pytest.param(b" \n\n", ["empty"], id="blank"),
        pytest.param(b"# nothing\n---\n---\n", ["empty"], id="comment"),
        pytest.param(b"No resources found\n", ["$:", "`str`"], id="words"),
        pytest.param(b"NAMESPACE   NAME   AGE\nprod        db     1d\n", ["$:", "`str`"], id="kubectl-table"),
        pytest.param(b"[]", ["$:", "`array`"], id="array"),
        pytest.param(b"- a\n", ["$:", "`array`"], id="yaml-sequence"),
        pytest.param(b"{}", ["$:", "no kind"], id="empty-object"),
        pytest.param(b"{kind: 5, apiVersion: [x]}", ["$.apiVersion:", "`array`"], id="kind-of-no-type"),
        pytest.param(b"kind: List\n", ["$:", "no items"], id="list-without-items"),
        pytest.param(b'{"kind": "List"}', ["$:", "no items"], id="json-list-without-items"),
        pytest.param(b'{"kind": "List", "items": {}}', ["$.items:", "`array | null`"], id="items-of-no-type"),
        pytest.param(b'{"kind": "List", "items": [null]}', ["$.items[0]:", "`null`"], id="null-item"),
        pytest.param(b'{"kind": "List", "items": [{"metadata": {"name": "db"}}]}', ["no kind"], id="item-without-kind"),
        pytest.param(as_json(listing([DB, listing([WEB])])), ["$.items[1]:", "'List'"], id="list-in-a-list"),
        pytest.param(
            as_yaml(DB, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"networks": 5}}),
            ["document 2:", "'Deployment'", "'apps/v1'"],
            id="deployment",
        ),
        pytest.param(
            as_json(listing([DB, {**WEB, "kind": "VirtualMachine"}])), ["$.items[1]:", "VirtualMachine,"], id="vm"
        ),
        pytest.param(as_json({**DB, "apiVersion": "example.org/v1"}), ["$:", "'example.org/v1'"], id="other-group"),
        pytest.param(as_yaml({**DB, "kind": "\x1b[2J" + "x" * 10_000}), ["kind '\\x1b[2Jxxx"], id="kind-that-shouts"),
        pytest.param(as_yaml(listing([DB])).split(b"\nkind: List")[0], ["$:", "cut off"], id="list-that-breaks-off"),
        pytest.param(as_yaml(DB, {**WEB, "metadata": {}}), ["document 2, $.metadata:", "`name`"], id="no-name"),
        pytest.param(as_json(listing([DB, {**WEB, "metadata": {}}])), ["$.items[1].metadata:"], id="no-name-in-list"),
        pytest.param(
            as_yaml(DB, listing([WEB, {**WEB, "status": {"interfaces": [{"ipAddresses": [["x"]]}]}}])),
            ["document 2, $.items[1].status.interfaces[0].ipAddresses[0]:", "`array`"],
            id="nested-address",
        ),
        pytest.param(as_json({**DB, "metadata": {"name": 5}}), ["$.metadata.name:", "`int`"], id="number-as-name"),
        pytest.param(b'{"kind": "List"\n "items": []}', ["broken JSON in line 2, column 2:"], id="broken-json"),
        pytest.param(as_json(listing([DB]))[:2000], ["broken JSON in line "], id="json-that-breaks-off"),
        pytest.param(as_json(DB) + b"}", ["broken JSON in line "], id="more-after-json"),
        pytest.param(b'{"kind": NaN}', ["$:", "broken JSON: "], id="nan"),
        pytest.param(b'{"kind": "\\ud800"}', ["$:", "broken JSON: "], id="half-a-character"),
        pytest.param(b'{"kind": ' + b"9" * 100_000 + b"} x", ["broken JSON in line 1"], id="long-number"),
        pytest.param(b"kind: [x\nitems: y\n", ["broken YAML in line 2, column "], id="broken-yaml"),
        pytest.param(b"kind: x\n\tfoo: y\n", ["broken YAML in line 2, column "], id="tab"),
        pytest.param(as_yaml(DB) + b"kind: x\n", ["the key 'kind' occurs twice"], id="key-twice"),
        pytest.param(b"? [kind]\n: x\n", ["a key must be a word"], id="sequence-as-key"),
        pytest.param(b"kind: List\nitems: *x\n", ["broken YAML in line 2, column 8:", "*x"], id="alias-of-nothing"),
        pytest.param(b"kind: List\nitems: &x [*x]\n", ["line 2, column 12:", "itself"], id="alias-of-itself"),
        pytest.param(b"--- &x {}\n--- *x\n", ["line 2, column 5:"], id="alias-of-another-document"),
        pytest.param(b"metadata: {<<: x}\n", ["only mappings can be merged"], id="merge-of-a-word"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00", ["not text in UTF-8", "byte 1"], id="png"),
        pytest.param(random.Random(1).randbytes(10_000), ["not text in UTF-8"], id="garbage"),
        pytest.param(bytes(1000), ["not text"], id="zeros"),
        pytest.param(b"kind: List\nitems: [] # \x07\n", ["not text"], id="control-character"),
        pytest.param(as_yaml(DB).decode().encode("utf-16")[:-1], ["not text"], id="half-of-utf-16"),
    ],
)
@pytest.mark.usefixtures("loader")
def test_malformed_input_is_an_error_with_file_place_and_remedy(file: File, content: bytes, said: list[str]) -> None:
    path = file(content)
    with pytest.raises(SourceError) as caught:
        vmifile.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "kubectl get vmi -A -o yaml" in message or "write the file again" in message
    for part in said:
        assert part in message
    assert message.isprintable()
    assert len(message) < 500
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "first", "second"),
    [
        pytest.param(as_yaml(DB, WEB, DB), "document 1", "document 3", id="documents"),
        pytest.param(as_json(listing([DB, WEB, DB])), "$.items[0]", "$.items[2]", id="items"),
        pytest.param(as_json(WEB, listing([DB]), DB), "document 2, $.items[0]", "document 3", id="both"),
        pytest.param(
            as_yaml(vmi("x"), {"kind": "VirtualMachineInstance", "metadata": {"name": "x"}}),
            "document 1",
            "document 2",
            id="namespace-default",
        ),
    ],
)
def test_a_duplicate_vmi_is_an_error_with_both_places(file: File, content: bytes, first: str, second: str) -> None:
    with pytest.raises(SourceError) as caught:
        vmifile.read(file(content), Selection(namespaces=frozenset({"elsewhere"})))
    assert f"in {first} and in {second}:" in str(caught.value)


def test_one_name_in_two_namespaces_is_two_vmis(file: File) -> None:
    assert keys(vmifile.read(file(as_yaml(vmi("a", "x"), vmi("a", "y"))))) == ["x/a", "y/a"]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!local", "!!binary"])
@pytest.mark.parametrize("key", ["kind", "metadata", "never-read"])
@pytest.mark.usefixtures("loader")
def test_tags_execute_nothing(file: File, tmp_path: Path, tag: str, key: str) -> None:
    path = file(f"{key}: {tag} ['touch {tmp_path}/executed']\n")
    with pytest.raises(SourceError, match=rf"broken YAML in line 1, column {len(key) + 3}: the tag "):
        vmifile.read(path)
    assert not (tmp_path / "executed").exists()


def test_core_tags_are_accepted(file: File) -> None:
    path = file("!!map {kind: !!str VirtualMachineInstance, metadata: {name: ! on, namespace: !!null x, uid: !!int 5}}")
    (vmi,) = vmifile.read(path)
    assert (vmi.key, vmi.uid) == ("default/on", "5")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent.yaml: there is no such file; `kubectl get vmi -A -o yaml > FILE`"):
        vmifile.read(str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_file_that_never_ends_is_an_error(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)

        def feed() -> None:
            with suppress(BrokenPipeError), path.open("wb") as pipe:
                while True:
                    pipe.write(b"- " * 1000)

        threading.Thread(target=feed, daemon=True).start()
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        read_all([str(path)], max_octets=1 << 20)


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="this is a directory; name one file in it"):
        vmifile.read(str(tmp_path))


def test_an_invalid_path_is_an_error() -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        vmifile.read("vmis\x00.yaml")


@pytest.fixture
def without_root() -> Iterator[None]:
    """Drop the permission of root to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_file_without_read_permission_is_an_error(file: File, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = file(as_yaml(DB))
    Path(path).chmod(0)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    request.getfixturevalue("without_root")
    with pytest.raises(SourceError, match="permission denied; let the user that runs ksd-ddns read it"):
        vmifile.read(path)


SIZE = 50_000_000
# Each runs in its own process, so that a crash fails only its test.
READ = """
import resource, sys
from ksd_ddns import vmifile
from ksd_ddns.errors import SourceError
try:
    vmifile.read(sys.argv[1])
except SourceError as e:
    print(e)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize(
    ("start", "unit", "said"),
    [
        pytest.param("", "[", "nested too deep", id="json-arrays"),
        pytest.param("", '{"a":', "nested too deep", id="json-objects"),
        pytest.param('{"kind":"List","items":[', '{"a":[', "nested too deep", id="json-items"),
        pytest.param('{"a": 1} ', '{"a":', "nested too deep", id="json-second-document"),
        pytest.param("x: ", "[", "nest", id="yaml-flow-sequences"),
        pytest.param("", "{a: ", "nested too deep", id="yaml-flow-mappings"),
        pytest.param("kind: ", "[", "nest", id="yaml-flow-where-it-is-read"),
        pytest.param("", "- ", "nested too deep", id="yaml-block-sequences"),
        pytest.param("", "? ", "a key must be a word", id="yaml-keys"),
        pytest.param("x:\n- ", "? ", "nested too deep", id="yaml-skipped-keys"),
        pytest.param("", "&a [", "nested too deep", id="yaml-anchors"),
        pytest.param("kind: '", "x", "broken YAML", id="yaml-string"),
        pytest.param('{"kind": "', "x", "broken JSON", id="json-string"),
    ],
)
def test_fifty_megabytes_of_nesting_cost_little_memory(file: File, start: str, unit: str, said: str) -> None:
    path = file(start + unit * (SIZE // len(unit)))
    run = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, timeout=30, check=True)
    *message, mebibytes = run.stdout.splitlines()
    assert said in "".join(message)
    assert int(mebibytes) < 600


def test_deeply_nested_blocks_are_an_error(file: File) -> None:
    path = file("\n".join(" " * depth + "a:" for depth in range(5000)))
    with pytest.raises(SourceError, match="line 101, column 101: nested too deep"):
        vmifile.read(path)


def test_deeply_nested_json_is_an_error(file: File) -> None:
    for depth in range(900, 1100, 7):
        path = file('{"kind":"List","items":[' + '{"a":' * depth + "1" + "}" * depth + "]}")
        with pytest.raises(SourceError):
            vmifile.read(path)


def _chain(first: str, tenfold: str) -> str:
    """Return anchors a to z, each holding the one before as often as `tenfold` does."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = [f"{new}: &{new} {tenfold.replace('?', '*' + old)}" for old, new in itertools.pairwise(letters)]
    return "\n".join([f"a: &a {first}", *lines])


def _numbered(count: int, value: str) -> str:
    return "{" + ", ".join(f"k{number}: {value}" for number in range(count)) + "}"


BOMBS = {
    "lists": _chain("[x, x]", "[?, ?, ?, ?, ?, ?, ?, ?, ?, ?]"),
    "mappings": _chain("{k: v}", "{k: ?, l: ?}"),
    "merges": f"a: &a {_numbered(10_000, 'v')}\nmetadata: {{labels: {_numbered(10_000, '{<<: *a}')}}}",
    "merges-at-once": f"a: &a {_numbered(10_000, 'v')}\nmetadata: {{<<: [{'*a, ' * 10_000}]}}",
    "long-strings": f"a: &a {'x' * 1_000_000}\nmetadata: {{labels: {_numbered(100, '*a')}}}",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.timeout(20)
def test_alias_bombs_are_an_error(file: File, bomb: str) -> None:
    with pytest.raises(SourceError, match="the aliases repeat too much"):
        vmifile.read(file(bomb))


def test_progress_goes_from_0_to_1(file: File) -> None:
    parts: list[float] = []
    vmifile.read(file(as_yaml(listing(vmi(f"vm-{number}") for number in range(200)))), progress=parts.append)
    assert parts == sorted(parts)
    assert 50 <= len(parts) <= 100
    assert parts[0] < 0.1
    assert 0.9 < parts[-1] <= 1


def test_the_order_is_that_of_the_file(file: File) -> None:
    names = [f"vm-{number}" for number in (3, 1, 2)]
    assert [vmi.name for vmi in vmifile.read(file(as_json(listing(map(vmi, names)))))] == names


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
VMI_PARTS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["VirtualMachineInstance", "List", "VirtualMachineInstanceList"]) | JSON},
    optional=dict.fromkeys(("apiVersion", "metadata", "spec", "status", "items"), JSON),
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("source") / "vmis"


@given(value=JSON | VMI_PARTS | st.builds(lambda items: {"kind": "List", "items": items}, st.lists(VMI_PARTS)))
def test_any_json_parses_or_raises_source_error(scratch: Path, value: object) -> None:
    outcomes = []
    for content in (json.dumps(value), yaml.safe_dump(value, allow_unicode=True)):
        scratch.write_text(content, encoding="utf-8")
        try:
            outcomes.append(len(vmifile.read(str(scratch))))
        except SourceError as e:
            assert str(e).startswith(f"{scratch}: ")  # noqa: PT017
            outcomes.append(-1)
    # YAML takes numbers for text, so it may accept more.
    assert outcomes[0] in (outcomes[1], -1)


@given(content=st.binary() | st.text(alphabet="ab:-[]{}&*?!|>'\"% \n\t").map(str.encode))
def test_any_bytes_parse_or_raise_source_error(scratch: Path, content: bytes) -> None:
    scratch.write_bytes(content)
    with pytest.raises(SourceError):
        vmifile.read(str(scratch))


@given(cut=st.integers(min_value=0, max_value=len(as_json(listing([DB, WEB]))) - 4))
def test_a_truncated_list_is_an_error(scratch: Path, cut: int) -> None:
    for content in (as_json(listing([DB, WEB])), as_yaml(listing([DB, WEB]))):
        if cut >= content.find(b"\nkind: List") > 0:
            continue
        scratch.write_bytes(content[:cut])
        with pytest.raises(SourceError):
            vmifile.read(str(scratch))


# Several files


def test_several_files_form_one_source(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_bytes(as_json(listing([vmi("a", "prod", {"net1": ["10.0.0.1"]})])))
    second.write_bytes(as_json(listing([vmi("b", "prod", {"net1": ["10.0.0.2"]})])))
    assert [item.name for item in read_all([str(first), str(second)])] == ["a", "b"]
    second.write_bytes(first.read_bytes())
    with pytest.raises(SourceError, match=r"VMI prod/a is in .*a\.json and in .*b\.json"):
        read_all([str(first), str(second)])
    second.unlink()
    with pytest.raises(SourceError, match=r"b.json: there is no such file"):
        read_all([str(first), str(second)])
