# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""A page of `run --html`: tags close, nothing comes from outside, every operator and the total are there.
check_page.py PAGE REPORT"""
import json, sys
from html.parser import HTMLParser

VOID = {"meta", "br"}
IMPLIED = {"td", "th", "p", "html"}  # HTML closes these by itself


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.drawings, self.rows, self.words = [], [], 0, []

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        assert not {"src", "href", "xlink:href"} & set(a), a
        for k in ("x", "y", "width", "height", "cx", "cy"):
            if tag != "meta" and a.get(k) is not None:
                assert float(a[k]) > -1, (tag, a)
        self.drawings += [a["aria-label"]] if tag == "svg" else []
        if tag not in VOID | IMPLIED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        if tag not in IMPLIED:
            assert self.open.pop() == tag, (tag, self.getpos())
        self.rows += tag == "tr"

    def handle_data(self, data):
        self.words.append(data.strip())


text = open(sys.argv[1], encoding="utf-8").read()
report = json.load(open(sys.argv[2]))
assert "://" not in text and "@import" not in text and "url(" not in text
page = Page()
page.feed(text)
page.close()
assert page.open == [], page.open
assert len(page.drawings) == 5, page.drawings
assert page.rows == len(report["operators"]) + 1, page.rows
assert f"{report['cycles']['total']:,}" in page.words
for operator in report["operators"]:
    assert operator["name"] in page.words, operator["name"]
