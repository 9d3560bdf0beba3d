# SPDX-License-Identifier: Apache-2.0
"""The pictures of the documentation: the recording of the demo, and what a screen reader needs."""

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
IMAGES = sorted((ROOT / "docs" / "images").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
RECORD: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "record_demo.py"))


def text_of(picture: ET.Element) -> list[str]:
    return ["".join(item.itertext()) for item in picture.iter(f"{SVG}text")]


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_picture_has_a_title_and_a_description(path: Path) -> None:
    picture = ET.parse(path).getroot()
    labels = {item.get("id") for tag in ("title", "desc") for item in picture.findall(f"{SVG}{tag}") if item.text}
    assert set(picture.attrib["aria-labelledby"].split()) == labels == {"title", "description"}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_picture_loads_nothing(path: Path) -> None:
    source = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"href|url\((?!#)|@import|<script", source)


def test_recording_shows_every_command_of_the_demo() -> None:
    demo = (ROOT / "scripts" / "demo.py").read_text(encoding="utf-8")
    commands = re.findall(r'stage\.run\("([^"]+)"\)', demo)
    assert len(commands) > 4
    shown = text_of(ET.parse(ROOT / "docs" / "images" / "demo.svg").getroot())
    assert {f"$ {command}" for command in commands} <= set(shown), "run scripts/record_demo.py"
    assert shown[-1] == "Every answer was right."


def test_recording_names_no_directory_of_the_machine_it_was_made_on() -> None:
    source = (ROOT / "docs" / "images" / "demo.svg").read_text(encoding="utf-8")
    paths = set(re.findall(r"(?<![\w<./:])/[a-z][\w.-]*(?:/[\w.-]+)*", source))
    assert paths == {
        "/usr/sbin/named",
        "/tmp/demo/primary/named.conf",
        "/tmp/demo/primary/vm.zone",
        "/tmp/demo/primary/ksd-ddns.key",
    }


def test_recording_keeps_text_and_styles() -> None:
    output = "\x1b[1;36m1. Plan\x1b[0m\r\n\r\n\x1b[1m$ a <b> & c\x1b[0m\r\nname\tA\r\n"
    picture = ET.fromstring(RECORD["picture"](RECORD["lines"](output)))
    assert text_of(picture)[1:] == ["1. Plan", "$ a <b> & c", "name    A"]
    assert [item.get("class") for item in picture.iter(f"{SVG}tspan")] == ["b c", "b"]


def test_recording_refuses_output_that_it_cannot_show() -> None:
    with pytest.raises(ValueError, match="unknown style"):
        RECORD["lines"]("\x1b[45mpink\x1b[0m\r\n")


@pytest.mark.parametrize(
    ("count", "last_scroll", "last_cover"),
    [pytest.param(3, 0, 54, id="fits"), pytest.param(30, -72, 468, id="scrolls")],
)
def test_recording_ends_at_the_last_line(count: int, last_scroll: int, last_cover: int) -> None:
    picture = RECORD["picture"](RECORD["lines"]("line\n" * count))
    assert f".text {{ transform: translateY({last_scroll}px); }}" in picture
    assert f".cover {{ transform: translateY({last_cover}px); }}" in picture
    assert f"100% {{ transform: translateY({last_scroll}px); }}" in picture
