from __future__ import annotations

import json
import re

from benchmarks import report
from benchmarks.plots import OKABE_ITO, V0_COLOUR, styles
from tests.benchmarks.test_results import a_router, some_results


def content(page):
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def test_the_page_holds_the_results_and_reaches_for_nothing():
    made = some_results()
    page = report.page(made)
    assert content(page)["results"] == made.model_dump(mode="json")
    outside = re.findall(r"(?:src|href)\s*=|@import|url\((?!#)|fetch\(|https?://[^\s\"']+", page)
    assert set(outside) <= {"http://www.w3.org/2000/svg"}


def test_a_name_cannot_end_the_script_it_stands_in():
    wicked = "</script><script>alert(1)</script><!--"
    page = report.page(some_results(fleet=[wicked, "b"], routers={wicked: a_router()}))
    assert wicked not in page
    assert content(page)["results"]["fleet"][0] == wicked


def test_no_router_is_drawn_like_another():
    drawn = styles([f"router-{i}" for i in range(20)] + ["v0-256", "v0-1024"])
    assert len({(style.colour, style.dash) for style in drawn.values()}) == 22
    assert drawn["v0-256"].colour == V0_COLOUR
    assert V0_COLOUR not in OKABE_ITO
