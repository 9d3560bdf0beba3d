# SPDX-License-Identifier: Apache-2.0
"""`/explain` in a browser and for programs: the same explanation as a page and as JSON."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TypeVar

import msgspec
import pytest

from harness.vmis import vmi as api_vmi
from ksd_ddns.kubevirt.selection import Selection
from ksd_ddns.kubevirt.vmi import parse
from ksd_ddns.kubevirt.vmi_object import VmiObject
from ksd_ddns.status.accept import wants_html
from ksd_ddns.sync.explain import Explainer, Look, Unanswered
from tests.status.site import Site, fleet, underscores
from tests.status.test_page import HOSTILE, kind, sentence, text_of
from tests.zone.build import REVERSE, a, node
from tests.zone.reconciler.model import Server

T = TypeVar("T")

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def obj(name: str, interfaces: dict[str, list[str]], hostname: str = "", namespace: str = "prod") -> VmiObject:
    """Return a VMI as the API server has it."""
    annotations = {"ksd-ddns/hostname": hostname} if hostname else None
    raw = api_vmi(name, namespace, interfaces, annotations=annotations)
    return msgspec.json.decode(json.dumps(raw).encode(), type=VmiObject)


@pytest.fixture
def site() -> Iterator[Site]:
    """Yield a site where a VM has names that are published, refused and in conflict."""
    server = Server(node("web.prod.vm.example.", a("10.9.9.9")))
    server.refuses_name = underscores
    with Site(server, Server(zone=REVERSE)) as found:
        db = obj("db", {"net1": ["10.1.0.9", "fe80::9"], "vlan_12": ["10.1.2.7"]}, "web")
        found.objects["prod/db"] = db
        found.report(parse(db), *fleet(3), seconds=5)
        yield found


def page(site: Site, path: str, *, code: int = 200) -> str:
    status, headers, body = site.request(path, Accept=BROWSER)
    assert (status, headers["content-type"].partition(";")[0]) == (code, "text/html" if code == 200 else "text/plain")
    return body.decode()


def test_a_vm(site: Site) -> None:
    found = page(site, "/explain?vmi=prod/db")
    text = text_of(found)
    assert (sentence(found), kind(found)) == ("prod/db: 4 of 6 names are in DNS", "degraded")
    row = text[text.index("10.1.0.9") : text.index("fe80::9")]
    assert "net1.db.prod.vm.example." in row
    assert "web.prod.vm.example." not in row, "a conflict: the zone holds another address"
    assert "fe80::9 skipped a link-local address is never published" in text
    assert "vlan_12.db.prod.vm.example. nothing" in text
    assert "refused since" in text
    assert "next try" in text
    assert "web.prod.vm.example. A 10.9.9.9 no ownership record conflict" in text
    assert 'Fix add "check-names ignore;" to the zone' in text
    assert text.index("vm.example.") < text.index("in-addr.arpa."), "the main zone comes first"
    assert "ksd-ddns explain prod/db" in text


def test_a_vm_that_is_fine(site: Site) -> None:
    found = page(site, "/explain?vmi=team-00/vm-00000")
    assert sentence(found) == "team-00/vm-00000: 3 of 3 names are in DNS"
    assert "The VM cannot be read: " in text_of(found)


def test_a_vm_that_does_not_exist(site: Site) -> None:
    found = page(site, "/explain?vmi=prod/dv")
    assert sentence(found) == "There is no VM prod/dv: is it running?"
    assert '<a class="m" href="explain?vmi=prod%2Fdb">prod/db</a>' in found, "a similar one"


def test_a_name(site: Site) -> None:
    found = page(site, "/explain?name=web.prod")
    assert (sentence(found), kind(found)) == ("web.prod.vm.example.: conflict", "degraded")
    assert "prod/db , by its annotation" in text_of(found)
    assert sentence(page(site, "/explain?name=net1.db.prod.vm.example.")).endswith(": published")
    unused = page(site, "/explain?name=db")
    assert sentence(unused) == "db.vm.example.: unused"
    assert '<a class="m" href="explain?vmi=prod%2Fdb">prod/db</a>?' in unused, "the namespace is missing"
    assert "is not in a zone that ksd-ddns manages" in page(site, "/explain?name=www.elsewhere.")


def test_a_name_that_several_want(site: Site) -> None:
    group = {"ksd-ddns/group": "all"}
    web = [obj(f"w{number}", {"net1": [f"10.1.1.{number}"]}, "www") for number in (1, 2)]
    raws = [api_vmi(f"m{number}", "prod", {"net1": [f"10.1.2.{number}"]}, annotations=group) for number in (1, 2)]
    members = [msgspec.convert(raw, VmiObject) for raw in raws]
    site.report(*map(parse, [*web, *members]))
    text = text_of(page(site, "/explain?name=www.prod"))
    assert re.search(r"prod/w1 , by its annotation, created [-0-9T]+:00:00Z: gets the name", text), text
    assert re.search(r"prod/w2 , by its annotation, created [-0-9T]+:00:00Z: does not get it", text), text
    text = text_of(page(site, "/explain?name=all.prod"))
    assert len(re.findall(r"prod/m[12] , by its group, created [-0-9T]+:00:00Z: gets the name", text)) == 2, text


@pytest.mark.parametrize("path", ["/explain", "/explain?vmi=x", "/explain?name=..", "/explain?vmi=a/b&vmi=c/d"])
def test_what_is_asked_is_checked(site: Site, path: str) -> None:
    assert page(site, path, code=400)


class Busy(Site):
    """A site whose controllers answer no question."""

    def ask(self, look: Look[T]) -> list[Future[T]]:
        return [Future() for _ in self.zones]


def test_a_controller_that_waits_for_its_primary_says_so() -> None:
    site = Busy()
    site.report(*fleet(1))
    explainer = Explainer(site, lambda key: None, Selection(), hold_down=300.0, within=0.0)
    with pytest.raises(Unanswered) as caught:
        explainer.vmi("prod/db")
    assert str(caught.value) == "the controller is busy"
    site.main.server.down = True
    site.report(*fleet(2))
    with pytest.raises(Unanswered) as caught:
        explainer.name("net1.db.prod")
    (problem,) = site.snapshots()[0].problems
    assert problem.text in str(caught.value)


def test_text_of_others_stays_text(site: Site) -> None:
    bad = obj("<b>", {HOSTILE: ["10.1.0.1"], "net1": [HOSTILE]}, HOSTILE)
    site.objects["prod/<b>"] = bad
    site.report(parse(bad))
    assert "&lt;script&gt;alert(1)" in page(site, "/explain?vmi=prod/%3Cb%3E")
    for path in ("/explain?vmi=prod/%3Cb%3E", "/explain?name=%3Cb%3E.prod", "/explain?vmi=prod/%3Cscript%3E"):
        found = page(site, path)
        assert "<script>" not in found.replace('<script src="page.js" defer></script>', "")
        assert "<b>.prod" not in found.replace("<b>0", "")
        assert "prod/<b>" not in found


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        (BROWSER, True), ("TEXT/HTML", True), ("application/json;q=0.5, text/html", True),
        ("application/json, text/html;q=0.1", False), ("text/html;q=0", False), ("text/html; q=0.5", True),
        ("application/json", False), ("*/*", False), ("", False), ("text/htmlx", False),
    ],
)  # fmt: skip
def test_programs_get_json(site: Site, accept: str, is_html: bool) -> None:
    assert wants_html(accept) is is_html
    _, headers, body = site.request("/explain?vmi=prod/db", Accept=accept)
    assert headers["content-type"].startswith("text/html" if is_html else "application/json")
    assert "Accept" in headers["vary"]
    assert is_html or json.loads(body)["vmi"]["vmi"] == "prod/db"
