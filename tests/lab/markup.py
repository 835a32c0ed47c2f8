"""Reads pages as a browser would, to say what is wrong with them."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: dict[str, int] = {}
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"unexpected </{tag}>")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> _Reader:
    """The page's elements and text; fails when elements are not nested or something would be fetched."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert not reader.faults and not reader.open, (reader.faults, reader.open)
    assert not reader.handlers
    assert not [link for link in reader.links if re.match(r"\w+:|//", link)]
    assert not re.search(r"@import|url\((?!#)", page)
    for name in ("nan", "inf", "-inf"):
        assert not re.search(rf'(?<![-\w])(x|y|d|cx|cy|width|height)="[^"]*\b{name}\b', page)
    return reader


def drawing(svg: str) -> ET.Element:
    """An SVG document, well-formed and without a coordinate that is not finite."""
    root = ET.fromstring(svg)
    for element in root.iter():
        for key in ("x", "y", "d", "cx", "cy", "width", "height", "transform"):
            assert not re.search("nan|inf", element.get(key, "")), (element.tag, key)
    return root
