# SPDX-License-Identifier: Apache-2.0
"""The page over HTTP: what it says in each state, how it is searched, and what others cannot do with it."""

import gc
import gzip
import html
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import msgspec
import pytest
from jinja2.runtime import Context

from ksd_ddns.kubevirt.groups import Membership
from ksd_ddns.kubevirt.warning import WarningCode
from ksd_ddns.status import About, texts
from ksd_ddns.status.hosts import is_allowed
from ksd_ddns.status.query import CHANGES
from ksd_ddns.status.view import VmView
from ksd_ddns.sync.snapshot import Part, ProblemCause
from ksd_ddns.zone.explain import State
from ksd_ddns.zone.plan import ConflictCause
from ksd_ddns.zone.reconciler.refusals import Cause
from tests.status.site import Site, fleet, underscores
from tests.zone.build import REVERSE, a, n, node, vmi
from tests.zone.reconciler.model import REFUSED, Server

HOSTILE = "<script>alert(1)</script>\"'&"
DB = vmi("db", "prod", {"net1": ["10.1.0.9"]})
NAME = n("net1.db.prod.vm.example.")

Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a factory of sites that are served until the end of the test."""
    with ExitStack() as stack:

        def make(*servers: Server, **settings: object) -> Site:
            return stack.enter_context(Site(*servers, **settings))  # type: ignore[arg-type]

        yield make


def text_of(page: str) -> str:
    """Return the text of a page without its elements, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def sentence(page: str) -> str:
    return text_of(page.partition("<h1")[2].partition("</h1>")[0].partition(">")[2])


def rows(page: str) -> list[str]:
    """Return the VMs in the table."""
    return re.findall(r'<th scope="row" role="rowheader" class="m"><a href="explain\?vmi=[^"]*">([^<]*)</a>', page)


def later(site: Site, page: str) -> str:
    """Return the page when it is no longer `page`, which may be cached for a moment."""
    state = sentence(page)
    deadline = time.monotonic() + 20
    while sentence(found := site.get("/")) == state:
        assert time.monotonic() < deadline, "it stays the same"
        time.sleep(0.02)
    return found


def kind(page: str) -> str:
    return page.partition('class="')[2].partition('"')[0]


# What it says


def test_everything_is_in_dns(serve: Serve) -> None:
    site = serve()
    site.report(*fleet(6))
    page = site.get("/")
    assert (sentence(page), kind(page)) == ("Every name is in DNS", "healthy")
    assert "12 names of 6 VMs are in DNS" in text_of(page)
    assert rows(page) == sorted(each.key for each in fleet(6))
    assert "<title>In sync" in page
    assert 'href="favicon-healthy.svg"' in page


def test_no_vms_yet(serve: Serve) -> None:
    site = serve(about=About(base="vm.example.", choice=(("LABEL_SELECTOR", "dns=yes"),)))
    site.report()
    page = site.get("/")
    assert (sentence(page), kind(page)) == ("No VMs to publish yet", "empty")
    assert "dig @10.0.0.53 net1.db.prod.vm.example." in text_of(page)
    assert "LABEL_SELECTOR dns=yes" in text_of(page)
    assert 'id="vms"' not in page


def test_before_the_first_sync(serve: Serve) -> None:
    site = serve()
    site.publish()
    assert sentence(site.get("/")).startswith("Reading the zone")


def test_on_standby(serve: Serve) -> None:
    site = serve()
    site.standby("pod-2")
    page = site.get("/")
    assert sentence(page).startswith("Standby")
    assert "The leader is pod-2 ." in text_of(page)
    assert 'id="vms"' not in page
    part = site.get("/?part=vms&q=db")
    assert sentence(part).startswith("Standby"), "a table without VMs would say that there is none"
    for path in ("/records", "/explain?vmi=prod/db"):
        status, headers, body = site.request(path)
        assert (status, body) == (503, b"this replica is not the leader: ask the leader, pod-2\n")
        assert headers["retry-after"]
    site.standby("")
    assert site.request("/records")[2] == b"this replica is not the leader: the leader is not known yet, try again\n"
    assert "The leader is not known yet: this replica has not read the Lease." in text_of(site.get("/"))


def test_pages_leave_no_garbage_that_grows(serve: Serve) -> None:
    site = serve()
    site.report(DB)
    thresholds = gc.get_threshold()
    gc.set_threshold(500_000, 50, 100)  # as in the program
    try:
        for number in range(100):
            site.get(f"/?page={number + 1}")
        contexts = sum(isinstance(each, Context) for each in gc.get_objects())
    finally:
        gc.set_threshold(*thresholds)
    assert contexts < 50


def test_the_primary_is_down(serve: Serve) -> None:
    site = serve()
    site.report(*fleet(3))
    site.main.server.down = True
    site.main.change(DB)
    site.run(60)
    page = site.get("/")
    assert (sentence(page), kind(page)) == ("Not ready: the primary does not accept updates", "not-ready")
    assert "DNS still answers: 6 names" in text_of(page)
    assert "did not answer within 1 s" in text_of(page)
    assert rows(page)[0] == "prod/db", "it waits, so it comes first"
    site.main.server.down = False
    site.run(60)
    assert kind(later(site, page)) == "healthy"


def test_refused_names_are_one_cause_with_its_fix(serve: Serve) -> None:
    server = Server()
    server.refuses_name = underscores
    site = serve(server)
    bad = [vmi(f"v{number:02}", "ops", {"vlan_12": ["10.1.0.9"]}) for number in range(30)]
    site.report(*bad, *fleet(30), seconds=10)
    page = site.get("/")
    assert (sentence(page), kind(page)) == ("30 names refused", "degraded")
    assert page.count('<p class="count warn">') == 1
    assert 'Add "check-names ignore;" to the zone' in text_of(page)
    assert "since" in page
    assert "next try" in page
    assert rows(page)[:4] == ["ops/v00", "ops/v01", "ops/v02", "team-00/vm-00000"], "no cause fills the page"
    (link,) = re.findall(r'<a href="([^"]*)">27 more VMs refused for this cause</a>', page)
    assert rows(site.get(f"/{html.unescape(link)}&limit=100")) == [each.key for each in bad]


def test_conflicts_name_what_exists(serve: Serve) -> None:
    site = serve(Server(node(NAME, a("10.9.9.9"))))
    site.report(DB)
    page = site.get("/")
    assert sentence(page) == "1 conflict"
    assert "net1.db.prod.vm.example. is not published: it exists without our ownership record." in text_of(page)


def test_held_and_skipped_addresses(serve: Serve) -> None:
    site = serve()
    site.report(vmi("db", "prod", hostnames=["a b"]), vmi("web", "prod", {"net1": ["10.1.0.8"]}))
    site.main.change(msgspec.structs.replace(vmi("web", "prod"), interfaces=()))
    site.run()
    page = site.get("/")
    assert kind(page) == "healthy", "nobody has to act"
    assert "net1 is held until" in text_of(page)
    assert "Hostname annotations cannot be DNS names" in text_of(page)


def test_a_member_that_is_not_ready_is_not_in_its_group(serve: Serve) -> None:
    site = serve()
    one, two = (
        msgspec.structs.replace(vmi(name, "prod", {"net1": [address]}), groups=(Membership("web"),))
        for name, address in (("one", "10.1.0.1"), ("two", "10.1.0.2"))
    )
    ready = msgspec.structs.replace
    site.report(one, ready(two, ready=False))
    assert states(site, "prod/two") == ("2 of 3", [State.SKIPPED])
    page = text_of(site.get("/"))
    assert "Members of groups are not ready web.prod.vm.example. does not have prod/two." in page
    assert "not ready for web.prod.vm.example." in page
    # The last one that was ready stays, until another one is.
    site.main.change(ready(one, ready=False))
    site.run()
    assert states(site, "prod/one") == ("3 of 3", [State.PUBLISHED])
    site.main.change(two)
    site.run()
    assert (states(site, "prod/one"), states(site, "prod/two")) == (
        ("2 of 3", [State.SKIPPED]),
        ("3 of 3", [State.PUBLISHED]),
    )


def states(site: Site, key: str) -> tuple[str, list[str]]:
    view = VmView(site.row(key))
    return f"{view.in_dns} of {view.wanted}", list(view.states)


def test_a_vm_without_names_has_the_reason(serve: Serve) -> None:
    site = serve()
    site.report(DB, vmi("off", ignored=True), msgspec.structs.replace(vmi("new"), interfaces=()))
    page = text_of(site.get("/"))
    assert "its annotation ksd-ddns/ignore is true" in page
    assert "its status has no address of a network that is published" in page
    assert kind(site.get("/")) == "healthy"


def test_blocked_deletions(serve: Serve) -> None:
    site = serve()
    site.report(*fleet(20))
    site.main.report(*fleet(2))
    site.run()
    page = site.get("/")
    assert sentence(page) == "Not ready: deletions are blocked"
    assert "ksd-ddns apply --force" in text_of(page)
    assert len(rows(site.get("/?state=blocked"))) == 18


def test_recent_changes(serve: Serve) -> None:
    site = serve()
    site.report(*fleet(120))
    site.main.change(vmi("vm-00000", "team-00", {"net1": ["10.9.9.9"]}, created=0))
    site.run()
    page = site.get("/").partition('id="changes"')[2]
    assert "net1.vm-00000.team-00.vm.example. A 10.1.0.1 \N{RIGHTWARDS ARROW} 10.9.9.9" in text_of(page)
    assert page.count("<tr") == 1 + CHANGES
    assert site.get("/?changes=200").partition('id="changes"')[2].count("<tr") == 1 + 200


def test_many_zones(serve: Serve) -> None:
    site = serve(*(Server() for _ in range(60)))
    site.report(DB)
    page = site.get("/")
    assert "60 zones in sync" in text_of(page)
    for zone in site.zones:
        zone.world.server.down = True
    site.run(60)
    page = later(site, page)
    assert page.count("Not ready:") == 51, "the sentence and 50 zones"
    assert "10 more zones with problems" in text_of(page)
    assert len(page) < 100_000


# Search, filters, orders, pages


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("q=vm-00003", ["team-03/vm-00003"], id="name"),
        pytest.param("q=VM-00003", ["team-03/vm-00003"], id="case"),
        pytest.param("q=team-03%20net1", ["team-03/vm-00003", "team-03/vm-00023"], id="words"),
        pytest.param("q=10.1.0.4", ["team-03/vm-00003"], id="address"),
        pytest.param("q=nothing", [], id="nothing"),
        pytest.param("state=published&limit=2", ["team-00/vm-00000", "team-00/vm-00020"], id="state"),
        pytest.param("state=held", [], id="empty-state"),
        pytest.param("sort=vm&limit=1", ["team-00/vm-00000"], id="sorted"),
        pytest.param("sort=-vm&limit=1", ["team-19/vm-00019"], id="reversed"),
        pytest.param("sort=changed&limit=1", ["team-05/vm-00005"], id="last-changed"),
        pytest.param("sort=-names&limit=1", ["team-09/vm-00009"], id="most-names"),
        pytest.param("limit=5&page=2&sort=vm", [f"team-{x}" for x in (
            "02/vm-00022", "03/vm-00003", "03/vm-00023", "04/vm-00004", "04/vm-00024",
        )], id="page"),
        pytest.param("limit=20&page=999&sort=vm", [f"team-{x:02}/vm-{x:05}" for x in range(15, 20)], id="last-page"),
        pytest.param("limit=0&page=-1&sort=x&state=y&changes=z", None, id="nonsense"),
        pytest.param("limit=%CE%B1&page=%C2%B2&q=", None, id="no-numbers"),
    ],
)  # fmt: skip
def test_search_filter_sort_and_paging(serve: Serve, query: str, found: list[str] | None) -> None:
    site = serve()
    vms = fleet(25)
    vms[9] = vmi("vm-00009", "team-09", {"net1": ["10.1.0.10"], "net2": ["10.2.0.10"]}, created=9)
    site.report(*vms)
    site.main.change(vmi("vm-00005", "team-05", {"net1": ["10.9.9.9"]}, created=5))
    site.run()
    page = site.get(f"/?{query}")
    assert rows(page) == (sorted(each.key for each in vms) if found is None else found)


def test_a_search_without_result_leads_to_the_explanation(serve: Serve) -> None:
    site = serve()
    site.report(DB)
    page = site.get("/?q=prod/gone")
    assert "No VM, name or address matches prod/gone" in text_of(page)
    assert 'href="explain?vmi=prod%2Fgone"' in page


def test_links_keep_what_is_asked_for(serve: Serve) -> None:
    site = serve()
    site.report(*fleet(60))
    page = site.get("/?q=vm&sort=-vm&limit=25&page=2")
    links = [html.unescape(link) for link in re.findall(r'href="(\?[^"]*)"', page)]
    assert "?q=vm&sort=-vm" in links, "the previous page is the first"
    assert "?q=vm&sort=-vm&page=3" in links
    assert "?q=vm&state=held&sort=-vm" in links
    assert "?q=vm&sort=vm" in links, "a click reverses the order"
    assert rows(page) == sorted((each.key for each in fleet(60)), reverse=True)[25:50]


def test_the_table_alone(serve: Serve) -> None:
    site = serve()
    site.report(*fleet(3))
    part = site.get("/?part=vms&q=vm-00001")
    assert part.startswith('<section class="part" id="vms"')
    assert rows(part) == ["team-01/vm-00001"]
    assert "part=" not in part.partition(">")[2], "its links lead to the page"


# Size and speed


def test_a_page_of_100_000_names_is_small(serve: Serve) -> None:
    site = serve()
    site.load(*fleet(10_000, 9))
    assert site.index.times()[0].names == 100_000
    for path in ("/", "/?q=vm-09999", "/?sort=vm&page=400"):
        page = site.get(path)
        assert len(page) < 60_000
        assert rows(page)
    _, headers, body = site.request("/?limit=500", Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    assert len(body) < 60_000
    assert len(rows(gzip.decompress(body).decode())) == 500


def test_the_page_stays_small_whatever_vms_are_like(serve: Serve) -> None:
    long = HOSTILE * 20
    many = {f"{long}{number}": [f"10.{number}.0.{octet}" for octet in range(1, 60)] for number in range(60)}
    site = serve()
    site.report(*(vmi(f"{long}{number}", long, many, hostnames=[long] * 9) for number in range(30)))
    page = site.get("/")
    assert rows(page)
    assert len(page) < 250_000
    assert len(gzip.compress(page.encode())) < 30_000


def test_a_name_of_a_megabyte_does_not_swell_the_page(serve: Serve) -> None:
    site = serve()
    site.report(vmi("b" * 1_000_000, "prod", {"n" * 1_000_000: ["10.1.0.1"]}))
    assert len(site.get("/")) < 100_000


def test_a_page_is_cached_while_it_is_new(serve: Serve) -> None:
    site = serve()
    site.load(*fleet(5_000, 5))
    site.get("/")
    began = time.monotonic()
    for _ in range(20):
        site.get("/")
    assert site.get("/?limit=100") != site.get("/"), "another query is another page"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True), ("deflate, gzip;q=0.5", True), ("*", True), ("GZIP", True),
        ("*, gzip;q=0", False), ("gzip; Q=0.000", False), ("identity;q=0, *;q=0.1", True), ("gzip;q=x", False),
        ("gzip;q=0", False), ("identity", False), ("br", False), ("", False),
    ],
)  # fmt: skip
def test_compression_is_agreed(serve: Serve, accepted: str, compressed: bool) -> None:
    site = serve()
    site.report(*fleet(20))
    _, headers, body = site.request("/", Accept_Encoding=accepted)
    assert ("content-encoding" in headers) is compressed
    assert headers["vary"] == "Accept-Encoding"
    assert len(body) == int(headers["content-length"])
    assert (gzip.decompress(body) if compressed else body).startswith(b"<!doctype html>")


# Others


def test_text_of_others_stays_text(serve: Serve) -> None:
    server = Server(node(NAME, a("10.9.9.9")))
    site = serve(server, about=About(owner=HOSTILE, leader=HOSTILE, base=HOSTILE))
    hostile = vmi(HOSTILE, HOSTILE, {HOSTILE: ["10.1.0.1"], "a\n\x1b[31m\u202e": ["10.1.0.2"]}, hostnames=[HOSTILE])
    site.report(DB, hostile, vmi("web", "prod", {HOSTILE: ["10.1.0.3"]}, hostnames=[HOSTILE]))
    for path in ("/", f"/?q={'%3Cscript%3E%22'}", "/?state=skipped", "/?changes=200", "/?sort=%3Cscript%3E"):
        page = site.get(path)
        assert "<script>" not in page.replace('<script src="page.js" defer></script>', "")
        assert "\x1b" not in page
        assert "\u202e" not in page
        for attribute in re.findall(r'<[^>]*"(?:[^">]*)"[^>]*>', page):
            assert "alert(1)" not in attribute or "%3Cscript%3E" in attribute or "&lt;script" in attribute
    assert "&lt;script&gt;alert(1)" in site.get("/")


def test_a_lone_surrogate_does_not_break_the_page(serve: Serve) -> None:
    site = serve()
    site.report(vmi("\udcff", "\udcff", {"\udcff": ["10.1.0.1"]}))
    assert "\\udcff" in site.get("/?sort=vm")
    assert site.get("/?q=%FF")


def test_the_policy_allows_own_files_alone(serve: Serve) -> None:
    site = serve()
    site.report(DB)
    _, headers, body = site.request("/")
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    page = body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)|https?:", page)
    for path in re.findall(r'(?:src|<link[^>]*href)="([^"]*)"', page):
        code, headers, found = site.request(f"/{path}")
        assert (code, bool(found)) == (200, True)


@pytest.mark.parametrize("favicon", ["healthy", "degraded", "not-ready", "empty"])
def test_each_state_has_an_icon(serve: Serve, favicon: str) -> None:
    code, headers, body = serve().request(f"/favicon-{favicon}.svg")
    assert (code, headers["content-type"]) == (200, "image/svg+xml; charset=utf-8")
    assert body.startswith(b"<svg")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("10.0.0.1", True), ("10.0.0.1:8081", True), ("[::1]:8081", True), ("[2001:db8::1]", True),
        ("localhost", True), ("LocalHost:8081", True), ("localhost.", True), ("x.localhost", True),
        ("ksd-ddns", True), ("pod-1:8081", True),
        ("ksd-ddns.secondary.svc", True), ("ksd-ddns.secondary.svc.cluster.local:8081", True),
        ("ksd-ddns.secondary.svc.cluster.local.", True), ("dns.company.example", True), ("DNS.company.example:1", True),
        ("evil.example", False), ("evil.example:8081", False), ("10.0.0.1.evil.example", False),
        ("svc.evil.example", False), ("xsvc.example", False), ("notcluster.local", False),
        ("localhost.evil.example", False), ("sub.dns.company.example", False),
        ("", False), (":8081", False), ("[::1", False), ("[evil.example]", False), ("evil.example@10.0.0.1", False),
        ("10.0.0.1:80:81", False), ("10.0.0.1:x", False), ("evil.example/.svc", False), ("a b.svc", False),
    ],
)  # fmt: skip
def test_the_host_header(serve: Serve, host: str, allowed: bool) -> None:
    site = serve(hosts=["dns.company.example"])
    for path in ("/", "/metrics", "/healthz", "/records"):
        code, _, body = site.request(path, Host=host)
        assert code == (200 if allowed else 421)
        assert allowed or b"STATUS_HOSTS" in body


def test_without_a_host_header_it_answers() -> None:
    assert is_allowed(None, ())


# Records


def test_records_are_chosen(serve: Serve) -> None:
    server = Server(node("web.prod.vm.example.", a("10.9.9.9")))
    server.refuses = {n("net1.bad.prod.vm.example."): REFUSED}
    site = serve(server, Server(zone=REVERSE))
    site.report(
        vmi("db", "prod", {"net1": ["10.1.0.9"]}, hostnames=["web"]), vmi("bad", "prod", {"net1": ["10.1.0.8"]})
    )

    def names(query: str) -> set[str]:
        zones = json.loads(site.get(f"/records?{query}"))["zones"]
        return {record["name"] for zone in zones for record in zone["records"]}

    db = {"db.prod.vm.example.", "net1.db.prod.vm.example.", "9.0.1.10.in-addr.arpa."}
    assert names("vmi=prod/db") == db
    assert names("name=NET1.db.prod.vm.example") == {"net1.db.prod.vm.example."}
    assert names("state=published") == db | {"bad.prod.vm.example.", "8.0.1.10.in-addr.arpa."}
    assert names("vmi=prod/db&limit=1") == {"db.prod.vm.example.", "9.0.1.10.in-addr.arpa."}
    assert names("state=refused") == set()
    (zone, _) = json.loads(site.get("/records?state=refused"))["zones"]
    assert ([each["count"] for each in zone["refused"]], zone["conflicts"]) == ([1], [])
    (zone, _) = json.loads(site.get("/records?state=conflict"))["zones"]
    assert (zone["refused"], [each["name"] for each in zone["conflicts"]]) == ([], ["web.prod.vm.example."])
    (zone, _) = json.loads(site.get("/records?vmi=prod/bad"))["zones"]
    assert zone["conflicts"] == []


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "state=odd", "name=..", "name=%C3%A4.example"])
def test_what_is_asked_of_records_is_checked(serve: Serve, query: str) -> None:
    site = serve()
    code, _, body = site.request(f"/records?{query}")
    assert (code, body.count(b"\n")) == (400, 1)


def test_every_cause_has_words() -> None:
    assert texts.REFUSED.keys() == set(Cause)
    assert texts.CONFLICT.keys() == set(ConflictCause)
    assert texts.SKIPPED.keys() == set(WarningCode)
    assert texts.PROBLEMS.keys() == set(ProblemCause)
    assert texts.NOT_READY.keys() == set(Part)
