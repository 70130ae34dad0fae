"""The page as text: everything escaped, nothing from elsewhere, no pixel where none is wanted."""

import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from resmom.diagnose.labelfree import GAP, MEASURES
from resmom.report.compare import TRAINING
from resmom.report.contents import Choice, RunRecord
from resmom.report.page import neighbour_words, page
from resmom.report.pagefile import MARKER, ReportError, require_ours, write_page
from tests.report import sample

RANKME = next(measure for measure in MEASURES if measure.name == "RankMe")
EVIL = "</script><b>\"'&<!-- {{ 7*7 }}"


class Outline(HTMLParser):
    """Tags, texts, what is referred to, and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "poster", "action", "data"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data
        if self._inside in ("h1", "h2", "h3"):
            self.headings.append((self._inside, data))


def test_one_run_tells_what_happened_first() -> None:
    text = page(sample.contents())
    found = Outline(text)
    title = (
        "Finished after 100 steps: kNN accuracy rose from 10.0 % to 50.0 % in the student and 52.0 % in the teacher."
    )
    assert found.headings[0] == ("h1", title)
    assert "student and teacher differ by 0.0200 at the representation" in found.text
    assert [words for tag, words in found.headings if tag == "h2"] == [
        "What was run", "Health", "Before against after", "Scores", "Curves", "Machine and versions",
    ]  # fmt: skip
    assert found.tags.count("h1") == 1 and "Nothing found." in found.text and "one seed" in found.text
    assert "for these signs: collapsed," in found.text
    assert "commit abc" in found.text and "resmom pretrain" in found.text


def rows_of(text: str) -> list[list[str]]:
    """The rows of the table of scores, cell by cell."""
    (table,) = re.findall(r'aria-label="Scores">(.*?)</table>', text, re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in row] for row in cells]


def evaluated(seed: int, weight: float, top1: float, kinds: int = 3) -> RunRecord:
    """A run with scores by so many protocols beside the kNN of training."""
    names = ["knn-v1 all", "low-shot-v1 5 per class", "finetune-v1 (whole)", "linear-v1 (x)"][:kinds]
    found = [
        sample.evaluation(network, name, top1 + 2 * (network == "teacher"), 100)
        for name in names
        for network in ("student", "teacher")
    ]
    return sample.run(f"w{weight:g} s{seed}", seed, weight, evaluations=found)


def test_few_protocols_are_columns_and_many_are_rows() -> None:
    few, many = (rows_of(page(sample.contents(evaluated(0, 0.0, 60.0, kinds)))) for kinds in (2, 3))
    assert len(few) == 2 and len(few[0]) == 1 + 3 * 2
    assert many[0] == ["protocol", "student", "teacher"]
    assert many[1:] == [
        ["kNN knn-v1 all", "60.0", "62.0"],
        [f"kNN {sample.KNN}; {TRAINING}", "50.0", "52.0"],
        ["fine-tuned finetune-v1 (whole)", "60.0", "62.0"],
        ["few labels low-shot-v1 5 per class", "60.0", "62.0"],
    ]


def test_many_protocols_of_several_configurations_have_a_row_for_each() -> None:
    runs = [evaluated(0, 0.0, 60.0), evaluated(1, 0.0, 62.0), evaluated(0, 1.0, 70.0)]
    rows = rows_of(page(sample.contents(*runs)))
    assert rows[0] == ["protocol and configuration", "seeds", "student", "teacher"]
    place = rows.index(["fine-tuned finetune-v1 (whole)"])
    assert rows[place + 1] == ["residual.weight 0", "2", "61.0 ± 1.4", "63.0 ± 1.4"]
    assert rows[place + 2] == ["residual.weight 1", "one seed", "70.0", "72.0"]


def test_several_runs_are_compared_by_what_sets_them_apart() -> None:
    runs = [sample.run("a0", 0, 0.0, 50.0), sample.run("a1", 1, 0.0, 54.0), sample.run("b0", 0, 1.0, 70.0)]
    found = Outline(page(sample.contents(*runs)))
    assert found.headings[0][1] == "Three runs of two configurations, all finished."
    assert "kNN student 52.0 ± 2.8 %, teacher 54.0 ± 2.8 % (2 seeds)" in found.text
    assert "kNN student 70.0 %, teacher 72.0 % (one seed)" in found.text
    assert "Nothing found in a0, a1 and b0." in found.text
    data = json.loads(found.scripts[0])
    assert data["runs"] == ["a0", "a1", "b0"]
    assert {trace["run"] for chart in data["charts"] for trace in chart["traces"]} == {0, 1, 2}


def test_a_configuration_that_has_not_learned_is_said_to_have_not() -> None:
    """By the rule of comparisons, on the measured rise of kNN over all its seeds."""

    def told(*after: float) -> str:
        runs = []
        for seed, value in enumerate(after):
            made = sample.run(f"a{seed}", seed, 0.0, value)
            measure = sample.Measure("kNN top-1 (%)", 10.0, value, value, "higher", "knn-v1 (bank 90, queries 1000)")
            runs.append(replace(made, measures=[measure]))
        return Outline(page(sample.contents(*runs, sample.run("b", 0, 1.0, 70.0)))).text

    assert "not shown to have learned" not in told(30.0, 31.0)
    assert "(2 seeds); not shown to have learned: the student's kNN went by +10.50 points" in told(30.0, 11.0)
    assert "not shown to have learned" in told(10.5, 10.4)


def test_runs_of_different_images_are_said_to_be() -> None:
    one, two = sample.run("a"), sample.run("b", 1)
    other = replace(two, config={**two.config, "data": "elsewhere"})
    assert "These runs saw different images" in page(sample.contents(one, other))
    assert "These runs saw different images" not in page(sample.contents(one, two))


def test_a_run_that_stopped_early_and_one_that_never_began() -> None:
    text = Outline(page(sample.contents(sample.run(step=60, steps=100)))).headings[0][1]
    assert text.startswith("At step 60 of 100, not finished:")
    for steps, words in (((60, 60), "none finished"), ((100, 60), "one finished")):
        runs = [sample.run(str(number), number, step=step) for number, step in enumerate(steps)]
        assert Outline(page(sample.contents(*runs))).headings[0][1] == f"Two runs of one configuration, {words}."
    empty = sample.run(step=0, lines=[], measures=[], starts=[], seconds=None, steps=None)
    found = Outline(page(sample.contents(empty)))
    assert found.headings[0][1] == "Not started."
    assert [words for tag, words in found.headings if tag == "h2"] == ["What was run", "Health", "Machine and versions"]
    assert found.scripts == []


def test_without_labels_the_other_view_speaks() -> None:
    measure = sample.Measure("own other view found (%)", 20.0, 80.0, None, "higher", "health-v1")
    found = Outline(page(sample.contents(sample.run(measures=[measure]))))
    assert "whose other view is nearest rose from 20.0 % to 80.0 % in the student." in found.headings[0][1]


def test_what_the_images_cannot_tell_from_no_change_did_not_rise() -> None:
    title = Outline(page(sample.contents(sample.run(student=20.0)))).headings[0][1]  # 20 queries: a noise of 22 points
    assert "kNN accuracy went from 10.0 % to 20.0 %" in title
    assert title.endswith("22.0 % in the teacher, which 20 images cannot tell from no change.")


def test_runs_without_labels_are_told_by_label_free_measures() -> None:
    def unlabelled(name: str, seed: int, weight: float, found: float, **more: Any) -> RunRecord:
        lines = [line for line in sample.run().lines if line["kind"] != "knn"]
        measures = [
            sample.Measure("own other view found (%)", 5.0, found, found + 1, "higher", "health-v1"),
            sample.Measure("RankMe", 3.0, 20.0, None, "higher", "health-v1"),
        ]
        return sample.run(name, seed, weight, lines=lines, measures=measures, **more)

    runs = [
        unlabelled("a", 0, 0.0, 50.0),
        unlabelled("b", 1, 0.0, 54.0),
        unlabelled("c", 0, 1.0, 70.0, findings=[sample.finding()]),
        unlabelled("d", 0, 2.0, 80.0, short=True),
        sample.run("e", 0, 3.0, lines=[], measures=[]),
    ]
    text = " ".join(Outline(page(sample.contents(*runs))).text.split())
    assert (
        "residual.weight 0: own other view found student 52.0 ± 2.8 %, teacher 53.0 ± 2.8 %, before 5.0 ± 0.0 %; "
        "RankMe student 20.0 ± 0, before 3.00 ± 0 (2 seeds)"
    ) in text
    assert "before 3.00 (one seed); something is wrong with c: collapsed, use none of its networks" in text
    assert "(one seed); d is too short to be judged" in text and "nothing was measured (one seed)" in text
    assert "no kNN" not in text


def test_of_several_runs_too_it_is_said_where_the_images_cannot_tell_a_change() -> None:
    def unlabelled(name: str, found: float, weight: float) -> RunRecord:
        lines = [line for line in sample.run().lines if line["kind"] != "knn"]
        protocol = "health-v1 (eval mode, 512 training images)"
        measures = [sample.Measure("own other view found (%)", 5.0, found, None, "higher", protocol)]
        return sample.run(name, 0, weight, lines=lines, measures=measures)

    runs = [unlabelled("a", 6.0, 0.0), unlabelled("b", 60.0, 1.0)]  # within and beyond a noise of 2.8 points
    text = " ".join(Outline(page(sample.contents(*runs))).text.split())
    assert "a, residual.weight 0: own other view found student 6.0 %" in text
    assert "before 5.0 % (one seed); a's 512 images cannot tell this from no change" in text
    assert "b's 512 images" not in text


def test_label_free_measures_are_explained_where_they_are_shown() -> None:
    measures = [sample.Measure(m.name, 1.0, 2.0, 3.0, m.better, "health-v1") for m in MEASURES]
    text = Outline(page(sample.contents(sample.run(measures=measures)))).text
    for measure in MEASURES:
        assert f"{measure.name}: {measure.meaning}" in text
        assert measure.meaning.endswith(".") and measure.meaning.count(". ") == 0  # a sentence
    assert text.count(f"The gap is {GAP}") == 2  # while training, and in evaluation mode
    assert RANKME.meaning[1:] in Outline(page(sample.contents())).text  # at the chart


def test_derived_settings_come_with_their_reasons() -> None:
    choices = [Choice("train.batch", "128", "enough negatives"), Choice("optim.lr", "0.3", "as most")]
    one = page(sample.contents(sample.run(choices=choices)))
    assert "<details open>" in one and "train.<wbr>batch" in one
    assert "128enough negatives" in Outline(one).text and "0.3as most" in Outline(one).text
    others = [sample.run(name, seed, choices=choices) for seed, name in enumerate("ab")]
    third = sample.run("c", 2, choices=choices[:1])
    found = Outline(page(sample.contents(*others, third, sample.run("d", 3))))
    heads = [line for line in found.text.splitlines() if line.strip().startswith("Settings derived")]
    assert [line.rpartition(": ")[2].strip() for line in heads] == ["a and b", "c"]
    assert "Settings derived" not in Outline(page(sample.contents())).text


def test_findings_come_with_their_remedy() -> None:
    runs = [sample.run("good"), sample.run("bad", 1, findings=[sample.finding()])]
    text = Outline(page(sample.contents(*runs))).text
    assert "collapsed, step 30. All images look alike to it." in text and "Lower the learning rate." in text
    assert "Nothing found in good." in text


def test_a_spoilt_run_and_one_that_cannot_be_judged_are_said_to_be() -> None:
    spoilt = page(sample.contents(sample.run(findings=[sample.finding()])))
    assert Outline(spoilt).headings[0][1] == (
        "Finished after 100 steps, and something is wrong with it: collapsed. Use none of its networks."
    )
    short = sample.run("short", step=40, steps=40, unjudged=["It is too short."], short=True)
    found = Outline(page(sample.contents(short)))
    assert found.headings[0][1].endswith(" in the teacher. Too short a run to be judged.")
    assert "Not judged. It is too short." in found.text and "Nothing found" not in found.text
    two = Outline(page(sample.contents(sample.run("a"), short, replace(short, name="c"))))
    assert "Nothing found in a." in two.text and "Not judged in short and c. It is too short." in two.text


def test_numbers_that_are_not_finite_do_no_harm() -> None:
    lines = [sample.knn_line(0, 10.0, 10.0), *(sample.train_line(s, loss=math.nan) for s in (1, 2, 3))]
    measure = sample.Measure("RankMe", math.nan, 3.0, math.inf, "higher", "")
    found = Outline(page(sample.contents(sample.run(lines=lines, measures=[measure]))))
    assert "not finite" in found.text
    json.loads(found.scripts[0], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_whatever_is_in_a_name_stays_text() -> None:
    one = sample.run(EVIL, data=[(EVIL, EVIL)], settings=[], findings=[], config={EVIL: EVIL, "optim.lr": 1})
    other = sample.run("b" + EVIL, config={EVIL: 2, "optim.lr": 1}, findings=[], data=[], settings=[])
    picture = sample.Picture(sample.uri(1), EVIL, 0)
    made = sample.RunPictures((sample.Query(picture, None, (picture,)),), 1, (), EVIL, (EVIL, "other"))
    found = Outline(page(sample.contents(*(replace(run, pictures=made) for run in (one, other)), images=True)))
    assert found.tags.count("b") == 2 and found.tags.count("script") == 3  # the page's own
    assert found.text.count(EVIL) >= 5 and "{{ 7*7 }}" in found.text
    assert json.loads(found.scripts[0])["runs"] == [EVIL, "b" + EVIL]


def test_names_that_are_no_text_are_written_as_escapes(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    write_page(tmp_path / "report.html", page(sample.contents(sample.run(odd))))
    assert r"caf\udce9" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("images", [False, True])
def test_nothing_comes_from_elsewhere(images: bool) -> None:
    made = sample.run(pictures=sample.pictures())
    text = page(sample.contents(made, sample.run("b", 1), images=images, sheets=(sample.sheet("run"),)))
    found = Outline(text)
    assert found.references and all(reference.startswith(("#", "data:image/")) for reference in found.references)
    assert "link" not in found.tags and "iframe" not in found.tags and "default-src 'none'" in text
    anchors = {reference[1:] for reference in found.references if reference.startswith("#")}
    assert anchors <= set(found.ids) and len(found.ids) == len(set(found.ids))
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_every_picture_is_in_the_page_once_and_has_words() -> None:
    text = page(sample.contents(sample.run(pictures=sample.pictures()), images=True, sheets=(sample.sheet("run"),)))
    uris = [reference for reference in Outline(text).references if reference.startswith("data:")]
    assert len(uris) == len(set(uris)) == 2 * 7 + 4 + 5
    assert text.count('aria-label="image ') == 14 and text.count('aria-label="view ') == 4
    assert "3 of 6 neighbours are of the image&#39;s own class before, 6 of 6 after" in text


def test_neighbours_in_words() -> None:
    assert neighbour_words(sample.pictures(labels=False)) == "two images asked, 40 searched"
    assert neighbour_words(sample.pictures(before=False)).startswith("6 of 6 neighbours are of the image's own class (")


def test_why_there_are_no_pictures_is_said() -> None:
    reason = "No pictures of run: its images cannot be read."
    found = Outline(page(sample.contents(sample.run(no_pictures=reason), images=True)))
    assert reason in found.text and ("h2", "Pictures") in found.headings


def test_headings_tables_and_figures_have_what_a_screen_reader_needs() -> None:
    text = page(sample.contents(sample.run(), sample.run("b", 1, 1.0)))
    levels = [int(tag[1]) for tag, _ in Outline(text).headings]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert text.count("<caption>") == text.count("<table") >= 5
    assert text.count("<figcaption>") == text.count('class="chart"') >= 6
    assert '<html lang="en">' in text and "aria-pressed" in text and 'scope="row"' in text


def test_the_page_says_its_size() -> None:
    text = page(sample.contents())
    assert f"({len(text.encode()) / 1e6:.1f} MB)" in text


def test_only_reports_are_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.html"
    write_page(out, page(sample.contents(sample.run("first"))))
    write_page(out, page(sample.contents(sample.run("second"))))
    assert MARKER in out.read_text()[:2000] and "second" in out.read_text() and "first" not in out.read_text()[:4000]
    assert [entry.name for entry in out.parent.iterdir()] == ["report.html"]
    thesis = tmp_path / "thesis.html"
    thesis.write_text("<html>years of work</html>")
    with pytest.raises(ReportError, match="is no report of resmom"):
        write_page(thesis, "x")
    assert thesis.read_text() == "<html>years of work</html>"
    with pytest.raises(ReportError, match="is a folder"):
        require_ours(tmp_path)


def test_where_the_time_went_is_told_where_it_was_written_down() -> None:
    plain = Outline(page(sample.contents()))
    assert "Of the time of training" not in plain.text
    spent = {"elapsed_seconds": 50.0, "waited_seconds": 1.0, "seconds/teach": 11.0, "seconds/forward_backward": 36.6}
    lines = [*sample.run().lines, sample.train_line(101, **spent, **{"seconds/update": math.nan})]
    text = Outline(page(sample.contents(sample.run(lines=lines)))).text
    assert "2 % on waiting for images, 22 % on the teacher, 73 % on the student's forward and backward pass." in text


def test_runs_whose_views_grow_are_told_why_their_curves_jump() -> None:
    config = {"data": "digits", "residual.weight": 0.0, "optim.lr": 0.3}
    for sizes, told in (([], False), ([0.5, 1.0], True)):
        made = page(sample.contents(sample.run(config={**config, "train.sizes": sizes})))
        assert ("its numbers of training can jump" in made) == told
