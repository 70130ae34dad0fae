"""The page in a real browser: charts drawn, nothing wider than the window, colours that follow the reader's."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from resmom.report.colours import PAPER, contrast
from resmom.report.contents import Contents, Live
from resmom.report.page import page
from resmom.report.pagefile import write_page
from tests.report import sample
from tests.report.browser import Browser, browser, executable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(executable() is None, reason="no chromium, chromium-browser or google-chrome on the path"),
]

LONG = "a_run_with_a_very_long_name_that_cannot_be_broken_anywhere_<b>and_goes_on"
PROTOCOL = "linear-v1 (" + "settings, " * 20 + "last epoch)"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, something wrong with it, values that are not finite, and pictures."""
    lines = [*sample.run().lines, *(sample.train_line(s, grad_norm=math.nan) for s in range(101, 110))]
    made = sample.run(lines=lines, findings=[sample.finding()], pictures=sample.pictures())
    path = tmp_path_factory.mktemp("one") / "report.html"
    path.write_text(page(sample.contents(made, images=True, sheets=(sample.sheet("run"),))))
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs with long names, long protocols and several options between them."""
    options = {f"policy.views.{n}.some_long_option": "a_long_value_without_a_break" for n in range(3)}
    scores = [sample.evaluation(network, PROTOCOL, 61.0, 100) for network in ("student", "teacher")]
    runs = [
        sample.run(LONG + str(n), n, float(n % 2), evaluations=scores, pictures=sample.pictures(before=n > 0),
                   config={"residual.weight": n % 2, **(options if n % 2 else {})})
        for n in range(5)
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("many") / "report.html"
    path.write_text(page(sample.contents(*runs, images=True, sheets=(sample.sheet(*(run.name for run in runs)),))))
    return path


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of detectors, one of them with a long name and many classes, and no run."""
    records = (sample.detection(), sample.detection(LONG, ("init", "random"), classes=80))
    path = tmp_path_factory.mktemp("boxes") / "report.html"
    path.write_text(page(Contents((), (), "Made by resmom", True, records)))
    return path


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boxes with instance masks, and two folders of masks, one of them with a long name and many classes."""
    boxes = (sample.detection("det", ("student",), masks=True),)
    records = (sample.segmentation(), sample.segmentation(LONG, ("init",), classes=25))
    path = tmp_path_factory.mktemp("masks") / "report.html"
    path.write_text(page(Contents((), (), "Made by resmom", True, boxes, records)))
    return path


def drawn(chromium: Browser) -> list[int]:
    """Lines that are really there, chart by chart."""
    script = "[...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('svg.main-svg path.js-line').length)"
    found: list[int] = chromium.evaluate(script)
    return found


def expected(chromium: Browser) -> list[int]:
    found: list[int] = chromium.evaluate(
        "JSON.parse(document.getElementById('data').textContent).charts.map(c => c.traces.length)"
    )
    return found


@pytest.mark.parametrize(
    ("name", "width", "dark"), [("one", 1280, False), ("one", 390, True), ("many", 1280, True), ("many", 390, False)]
)  # every page in every width, and dark with either: colours have no part in the layout
def test_charts_are_drawn_and_nothing_is_wider_than_the_window(
    name: str, width: int, dark: bool, chromium: Browser, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(name)
    chromium.open(path, width, dark=dark)
    assert chromium.problems == []
    assert [url for url in chromium.requests if not url.startswith("data:image/")] == [path.as_uri()]
    assert drawn(chromium) == expected(chromium) and len(drawn(chromium)) >= 8
    size = chromium.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert size[0] <= size[1] == width
    sizes = chromium.evaluate("[...document.querySelectorAll('.chart svg.main-svg')].map(s => s.clientWidth)")
    assert min(sizes) > 150 and max(sizes) <= width
    pictures = chromium.evaluate("[...document.querySelectorAll('details[open] .pic')].map(s => s.clientWidth)")
    assert len(pictures) >= 14 and min(pictures) > 15
    # Every neighbour, after as well as before, can be seen without scrolling sideways, and so can the map.
    rights = chromium.evaluate(
        "[...document.querySelectorAll('details[open] .neighbours .pic, details[open] .map span')]"
        ".map(p => p.getBoundingClientRect()).map(r => [r.left, r.right])"
    )
    assert len(rights) >= 14 and all(0 <= left < right <= width for left, right in rights)
    scrolled = "[...document.querySelectorAll('.wide')].filter(w => w.querySelector('.views, .starts, .map'))"
    assert chromium.evaluate(f"{scrolled}.every(w => w.scrollWidth <= w.clientWidth + 2)")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_photos_with_boxes_fit_and_their_marks_differ_without_colour(
    width: int, dark: bool, chromium: Browser, boxes: Path
) -> None:
    chromium.open(boxes, width, dark=dark)
    assert chromium.problems == []
    assert drawn(chromium) == expected(chromium) and len(drawn(chromium)) == 8
    size = chromium.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert size[0] <= size[1] == width
    plates = chromium.evaluate("[...document.querySelectorAll('.plate')].map(p => [p.clientWidth, p.clientHeight])")
    assert len(plates) == 2 * (3 + 2) and all(100 < w <= width and h > 100 for w, h in plates)
    assert {round(w / h, 1) for w, h in plates} == {1.5, 0.7}
    # The four kinds that matter have four lines: whole or broken in their own way, thick or thin.
    lines = chromium.evaluate(
        """['right', 'wrong', 'missed', 'found'].map(k => getComputedStyle(document.querySelector(
        `.plate rect.${k}:not(.under)`))).map(s => [s.strokeDasharray, s.strokeWidth].join(' '))"""
    )
    assert len(set(lines)) == 4
    tags = chromium.evaluate(
        """[...document.querySelectorAll('.tag')].map(t => [t.textContent, getComputedStyle(t).color,
        getComputedStyle(t).backgroundColor, t.offsetLeft, t.offsetLeft + t.offsetWidth - t.parentNode.clientWidth])"""
    )
    assert {tag[0] for tag in tags} == {"cat .93", "wrong: dog .51", "missed: dog"}
    assert all(contrast(hexadecimal(c), hexadecimal(ground)) > 4.5 for _, c, ground, _, _ in tags)
    assert all(left >= 0 and over <= 1 for *_, left, over in tags)  # the words stay on the photo


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_masks_fit_and_lie_on_their_photos(width: int, dark: bool, chromium: Browser, masks: Path) -> None:
    chromium.open(masks, width, dark=dark)
    assert chromium.problems == []
    assert drawn(chromium) == expected(chromium) and len(drawn(chromium)) == 4 + 3 + 3
    size = chromium.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert size[0] <= size[1] == width
    plates = chromium.evaluate(
        "[...document.querySelectorAll('.masks .plate')].map(p => p.getBoundingClientRect())"
        ".map(r => [r.left, r.right, r.width, r.height])"
    )
    assert len(plates) == 2 * (5 + 3) and all(left >= 0 and right <= width for left, right, *_ in plates)
    assert all(w > 100 and abs(w / h - 1.5) < 0.02 for *_, w, h in plates)
    # On a telephone two stand side by side, on a screen all of a row.
    rows = chromium.evaluate(
        "[...document.querySelectorAll('.photo.masks')].map(p => new Set([...p.querySelectorAll('.plate')]"
        ".map(q => Math.round(q.getBoundingClientRect().top))).size)"
    )
    assert rows == ([1] * 4 if width == 1280 else [3, 3, 2, 2])
    offsets = chromium.evaluate(
        """[...document.querySelectorAll('image.mask')].map(m => [m, m.closest('.plate')].map(e =>
        e.getBoundingClientRect())).flatMap(([m, p]) => [m.left - p.left, m.top - p.top, m.right - p.right,
        m.bottom - p.bottom])"""
    )
    assert len(offsets) == 4 * 2 * (4 + 2) and max(map(abs, offsets)) < 1
    # A mask's path lies in its thousandths: here .1 to .4 across, and .1 to .4 down.
    box = "document.querySelector('.plate path.right:not(.under)').getBoundingClientRect()"
    plate = "document.querySelector('.plate path.right').closest('.plate').getBoundingClientRect()"
    across, down = chromium.evaluate(
        f"((b, p) => [(b.left - p.left) / p.width, (b.top - p.top) / p.height])({box}, {plate})"
    )
    assert abs(across - 0.1) < 0.02 and abs(down - 0.1) < 0.02
    # Void is striped, and every class of the legend has another colour.
    patches = chromium.evaluate(
        "[...document.querySelectorAll('.patch:not(.void)')].map(p => getComputedStyle(p).backgroundColor)"
    )
    assert len(patches) == 2 + 24 and len(set(patches)) == 24
    striped = "getComputedStyle(document.querySelector('.patch.void')).backgroundImage"
    assert chromium.evaluate(striped).startswith("repeating-linear-gradient")
    for name in ("h4", ".masks .note", ".masks figcaption", ".marks-key"):
        colour = chromium.evaluate(f"getComputedStyle(document.querySelector('{name}')).color")
        assert contrast(hexadecimal(colour), PAPER["dark" if dark else "light"]) >= 4.5


def test_the_tables_of_a_narrow_window_scroll_by_themselves(chromium: Browser, many: Path) -> None:
    chromium.open(many, 390)
    wide = chromium.evaluate("[...document.querySelectorAll('.wide')].map(w => [w.scrollWidth, w.clientWidth])")
    assert any(inner > outer for inner, outer in wide) and all(outer <= 390 for _, outer in wide)


def test_colours_follow_the_reader_and_paper_is_light(chromium: Browser, one: Path) -> None:
    strokes = "getComputedStyle(document.querySelector('#chart0 path.js-line')).stroke"
    grounds = "getComputedStyle(document.documentElement).backgroundColor"
    chromium.open(one, 1280)
    light = chromium.evaluate(strokes), chromium.evaluate(grounds)
    chromium.set_dark(True)
    chromium.wait(f"{strokes} !== '{light[0]}'", 10)
    dark = chromium.evaluate(strokes), chromium.evaluate(grounds)
    for (stroke, ground), scheme in ((light, "light"), (dark, "dark")):
        assert hexadecimal(ground) == PAPER[scheme]
        assert contrast(hexadecimal(stroke), hexadecimal(ground)) > 3
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    chromium.send("Emulation.setEmulatedMedia", media="print", features=[scheme])
    chromium.wait(f"{strokes} === '{light[0]}'", 10)
    assert chromium.evaluate(grounds) == light[1]
    chromium.send("Emulation.setEmulatedMedia", media="", features=[scheme])


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read(dark: bool, chromium: Browser, one: Path) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1, for every colour of text there is."""
    chromium.open(one, 1280, dark=dark)
    script = """[...new Set([...document.querySelectorAll('h1, h2, h3, p, th, td, strong, a, li, figcaption, footer')]
        .map(e => getComputedStyle(e).color))]"""
    colours = chromium.evaluate(script)
    assert len(colours) >= 3
    assert min(contrast(hexadecimal(c), PAPER["dark" if dark else "light"]) for c in colours) >= 4.5


def test_a_run_can_be_hidden_in_all_charts(chromium: Browser, many: Path) -> None:
    chromium.open(many, 1280)
    before = drawn(chromium)
    chromium.evaluate("document.querySelector('.legend button').click()")
    chromium.wait(f"document.querySelectorAll('svg.main-svg path.js-line').length < {sum(before)}", 20)
    chromium.wait(f"document.querySelectorAll('svg.main-svg path.js-line').length === {sum(before) * 4 // 5}", 20)
    assert chromium.evaluate("document.querySelector('.legend button').getAttribute('aria-pressed')") == "false"
    chromium.evaluate("document.querySelector('.legend button').click()")
    chromium.wait(f"document.querySelectorAll('svg.main-svg path.js-line').length === {sum(before)}", 20)
    assert chromium.problems == []


def test_pointing_at_a_curve_tells_its_values(chromium: Browser, many: Path) -> None:
    chromium.open(many, 1280)
    chromium.evaluate("document.getElementById('chart0').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = chromium.evaluate(
        "(r => [r.right, r.top])(document.querySelector('#chart0 .js-line').getBoundingClientRect())"
    )
    for move in (2.0, 1.0):
        chromium.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] - move, y=box[1] + 1.0)
    chromium.wait("document.querySelector('#chart0 .hovertext') !== null", 10)
    told = chromium.evaluate("document.querySelector('#chart0 .hoverlayer').textContent")
    assert "step 100" in told and LONG in told


def test_the_keyboard_reaches_contents_runs_and_tables(chromium: Browser, many: Path) -> None:
    chromium.open(many, 1280)
    reached = []
    for _ in range(14):
        for kind in ("keyDown", "keyUp"):
            chromium.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(chromium.evaluate("document.activeElement.className + ' ' + document.activeElement.tagName"))
    assert reached[0] == "skip A" and "wide DIV" in reached and " BUTTON" in reached
    assert chromium.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def hexadecimal(colour: str) -> str:
    """rgb(1, 2, 3) as #010203."""
    return "#" + "".join(f"{int(part):02x}" for part in colour[4:-1].split(","))


def test_a_live_page_loads_itself_where_the_reader_is(chromium: Browser, tmp_path: Path) -> None:
    """From disk, with nothing but the file, until it is replaced by the usual page."""
    path, made = tmp_path / "report.html", sample.contents(sample.run())
    says = "(document.querySelector('header')?.textContent ?? 'Written at').includes('Written at{}')"
    write_page(path, page(replace(made, live=Live("10:00", 1))))
    chromium.open(path, 800)
    chromium.evaluate("scrollTo(0, 700)")
    write_page(path, page(replace(made, live=Live("10:01", 1))))
    chromium.wait(says.format(" 10:01"))
    chromium.wait("document.body?.dataset.charts !== undefined && scrollY > 600")
    write_page(path, page(made))
    chromium.wait("!" + says.format(""))
    assert chromium.problems == [] and {url.partition(":")[0] for url in chromium.requests} <= {"file", "data", "blob"}
