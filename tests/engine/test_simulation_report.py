"""The simulator's report: one page without a network, safe whatever the keys hold, same bytes."""

import re
from html.parser import HTMLParser
from math import inf
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from prefetch_scheduler.engine.simulation.charts import Bar, Series, bars, plot
from prefetch_scheduler.engine.simulation.report import render
from prefetch_scheduler.engine.simulation.svg import (
    COLOURS,
    PAPER,
    compact,
    free_place,
    linear_axis,
    log_axis,
    percent,
    px,
    safe,
    seconds,
    shortened,
)

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "file:</title><script src='http://x'>\x00\ud800&\"'\n.py"


def policy(**changes: Any) -> dict[str, Any]:
    row = {
        "wait_s": 75.0,
        "hidden_fraction": 0.25,
        "hit_rate": 0.5,
        "late_hit_rate": 0.1,
        "prefetch_accuracy": 0.4,
        "prefetches": 10,
        "tokens_prefetched": 12_000,
        "tokens_wasted": 7_000,
        "wasted_fraction": 7 / 12,
        "demand_p50_ms": 12.0,
        "demand_p99_ms": 4000.0,
        "waits": [[0.0, 5], [0.01, 2], [1.0, 2], [inf, 1]],
    }
    return row | changes


def data() -> dict[str, Any]:
    empty = policy(wait_s=100.0, hidden_fraction=0.0, prefetches=0, tokens_prefetched=0)
    empty |= {"tokens_wasted": 0, "wasted_fraction": None, "prefetch_accuracy": None}
    return {
        "sessions": 2,
        "accesses": 10,
        "policies": {"none": empty, "default": policy(), "<mine> & more": policy(wait_s=90.0)},
        "timeline": {
            "session": HOSTILE,
            "policy": "default",
            "duration_s": 60.0,
            "loads": [
                load(HOSTILE, 1.0, 3.0, "prefetch", used=True),
                load("file:b", 1.0, 2.0, "prefetch", used=False),
                load("file:c", 5.0, 5.001, "demand", used=True),
            ],
            "waits": [
                {"key": HOSTILE, "start_s": 2.0, "finish_s": 3.0, "kind": "late_hit"},
                {"key": "file:c", "start_s": 5.0, "finish_s": 5.001, "kind": "miss"},
            ],
        },
        "frontier": [
            point("default", "5,000 tokens", 0.15, 3_000),
            point("default", "10,000 tokens", 0.25, 7_000),
            point("none", "", 0.0, 0),
            point("failed", "no waits", None, 0),
        ],
        "growth": [
            {"name": "plan", "points": [[100, 2.0], [1000, 2.5]], "unit": "µs"},
            {"name": "cache", "points": [[100, 900.0], [1000, 905.0]], "unit": "bytes"},
        ],
    }


def load(key: str, start: float, finish: float, cause: str, *, used: bool) -> dict[str, Any]:
    times = {"start_s": start, "finish_s": finish}
    return {"key": key, **times, "cause": cause, "used": used, "tokens": 500}


def point(name: str, setting: str, hidden: float | None, wasted: int) -> dict[str, Any]:
    tokens = {"tokens_prefetched": 12_000, "tokens_wasted": wasted}
    return {"policy": name, "setting": setting, "hidden_fraction": hidden, **tokens}


class Reader(HTMLParser):
    """Notes elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_but_itself_and_runs_nothing(tmp_path: Path):
    page = Reader(render(data(), tmp_path).read_text("utf-8"))
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {"src", "href", "srcset"} & names
    assert not any(name.startswith("on") for name in names)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_every_plot_is_a_file_and_in_the_page_with_title_description_and_table(tmp_path: Path):
    page = render(data(), tmp_path).read_text("utf-8")
    files = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert files == ["frontier.svg", "growth-1.svg", "growth-2.svg", "timeline.svg", "waits.svg"]
    ids: list[str] = []
    for name in files:
        text = (tmp_path / name).read_text("utf-8")
        assert text in page
        root = ElementTree.fromstring(text)  # well-formed, whatever the keys hold
        assert root.get("role") == "img"
        named = [root.find(f"{SVG}title"), root.find(f"{SVG}desc")]
        assert all(element is not None and element.text for element in named)
        own = [str(element.get("id")) for element in named if element is not None]
        assert str(root.get("aria-labelledby")).split() == own
        ids += own
    assert len(set(ids)) == len(ids)
    for section in re.findall(r"<section>.*?</section>", page, re.S):
        assert section.count("<table>") >= 1


def test_names_of_users_are_text_wherever_they_stand(tmp_path: Path):
    page = Reader(render(data(), tmp_path).read_text("utf-8"))
    shown = "file:</title><script src='http://x'>\\x00\\ud800&\"'\\n.py"
    assert page.text.count(shown) >= 3  # a tool tip, a row of the loads, a row of the reads
    assert "<mine> & more" in page.text


def test_the_same_data_gives_the_same_bytes_and_a_second_run_replaces_the_first(tmp_path: Path):
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    render(data(), tmp_path)
    first = contents()
    render(data(), tmp_path)
    assert contents() == first


def test_numbers_stand_in_the_tables(tmp_path: Path):
    page = render(data(), tmp_path).read_text("utf-8")
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in page.split("<tr>")]
    assert ["default", "10,000 tokens", "25 %", "12,000", "7,000"] in rows
    assert ["failed", "no waits", "–", "12,000", "0"] in rows
    assert ["default", "50 %", "70 %", "70 %", "90 %", "90 %", "10"] in rows
    assert ["file:b", "prefetched, not used", "1.000", "2.000", "500"] in rows
    assert "hides 25 % of the time" in page


def test_only_what_is_given_is_drawn(tmp_path: Path):
    given = data()
    del given["timeline"], given["growth"], given["frontier"]
    for row in given["policies"].values():
        row["waits"] = []
    render(given, tmp_path / "new" / "folder")
    written = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert written == ["frontier.svg", "index.html"]
    page = (tmp_path / "new" / "folder" / "index.html").read_text("utf-8")
    assert ">setting<" not in page


def test_a_load_is_drawn_where_and_as_long_as_it_took(tmp_path: Path):
    render(data(), tmp_path)
    root = ElementTree.fromstring((tmp_path / "timeline.svg").read_text("utf-8"))
    drawn = {
        str(rect.findtext(f"{SVG}title")).split(":")[1]: rect
        for rect in root.iter(f"{SVG}rect")
        if "tokens" in str(rect.findtext(f"{SVG}title"))
    }
    wide = 760 / 60  # pixels in a second
    assert float(drawn["b"].get("x", "")) == pytest.approx(72 + wide, abs=0.1)
    assert float(drawn["b"].get("width", "")) == pytest.approx(wide, abs=0.1)
    assert float(drawn["c"].get("width", "")) == 2  # too short to be seen


# ---- the parts -------------------------------------------------------------------------------


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines define it."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_can_be_read_on_its_paper(colour: tuple[str, str]):
    assert all(contrast(ink, paper) >= 4.5 for ink, paper in zip(colour, PAPER, strict=True))


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([0.0, 61_900_000.0], (0, 1e7, 2e7, 3e7, 4e7, 5e7, 6e7, 7e7)),
        ([0.3], (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
        ([], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([0.0, 0.0], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_a_linear_axis_has_round_ticks_that_hold_every_value(
    values: list[float], ticks: tuple[float, ...]
):
    axis = linear_axis("x", values)
    assert axis.ticks == pytest.approx(ticks)
    assert all(axis.low <= value <= axis.high for value in values)


def test_a_logarithmic_axis_goes_by_powers_of_ten_and_leaves_out_what_has_no_place():
    axis = log_axis("x", [0.0, 0.002, 30.0, inf])
    assert axis.ticks == (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    assert axis.place(0.1, 0, 100) == pytest.approx(40)
    assert axis.place(0.0, 0, 100) == 0


def test_labels_keep_off_each_other_and_off_the_marks():
    taken = [(44.0, 44.0, 56.0, 56.0)]
    places = []
    while (place := free_place("label", 50, 50, (0, 0, 200, 100), taken)) is not None:
        places.append(place)
        taken.append(place)
    assert len(places) >= 2
    for number, one in enumerate(taken):
        assert one[0] >= 0
        for other in taken[:number]:
            apart = one[2] <= other[0] or other[2] <= one[0]
            assert apart or one[3] <= other[1] or other[3] <= one[1]


def test_a_point_s_mark_stands_at_its_place():
    picture = plot(
        "p",
        "title",
        "description",
        linear_axis("x", [0, 10]),
        linear_axis("y", [0, 10]),
        [Series("one", [(10.0, 10.0)], 0, labels=["the point"])],
    )
    circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', picture)
    assert circles[-1] == ("832", "72")  # the plot's upper right corner
    assert "the point" in picture


def test_a_bar_ends_at_its_value_and_the_goal_is_marked():
    axis = linear_axis("x", [0, 10])
    picture = bars("b", "t", "d", axis, [Bar("all", 10, "10"), Bar("half", 5, "5")], goal=5)
    wide, narrow = re.findall(r'class="f0" x="[\d.]+" y="[\d.]+" width="([\d.]+)"', picture)
    assert float(wide) == pytest.approx(2 * float(narrow), abs=0.2)
    assert 'class="goal"' in picture


def test_numbers_are_short_and_carry_their_unit():
    assert [compact(n) for n in (0, 950, 1_234_567)] == ["0", "950", "1.23M"]
    assert [seconds(s) for s in (0, 2e-6, 0.012, 1.5, 150, 21667)] == [
        "0 s",
        "2 µs",
        "12 ms",
        "1.5 s",
        "2.5 min",
        "6.02 h",
    ]
    assert percent(0.1284) == "12.8 %"
    assert [px(-0.04), px(1.25), px(3)] == ["0", "1.2", "3"]
    assert shortened("file:src/auth/login.py", 12) == "file…ogin.py"
    assert safe("<a b='c'>\x1b") == "&lt;a b=&#x27;c&#x27;&gt;\\x1b"


def test_what_was_promised_and_what_came_is_said_in_words(tmp_path: Path):
    said = {
        "verdict": "prefetching does not pay here: a read takes 2.0 ms; <b>",
        "waste_promised": 0.5,
        "waste_lately": 0.71,
        "promise_kept": False,
        "least_chance": 0.3,
        "held_back": [{"source": 0, "role": "test_file", "why": "0 of 40 loads ahead were read"}],
        "reliability": [
            {"source": 0, "role": "documentation", "stated": 0.56, "true": 0.39, "count": 1200}
        ],
    }
    page = Reader(render(data() | {"speculation": said}, tmp_path).read_text("utf-8"))
    assert "prefetching does not pay here: a read takes 2.0 ms; <b>" in page.text
    assert "at most 50 % of the tokens" in page.text
    assert "71 % were wasted. That could not be kept: only what is 30 % likely" in page.text
    assert "0 of 40 loads ahead were read." in page.text
    assert "documentation0.560.391,200" in page.text
