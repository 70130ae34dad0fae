"""The sections on fine-tuned backbones as text: boxes, masks, their words, and several folders on one page."""

import json
import re
from dataclasses import replace
from itertools import pairwise

from resmom.report import segmentation
from resmom.report.contents import Contents, Mask, Part
from resmom.report.page import page
from tests.report import sample
from tests.report.test_page import EVIL, Outline


def test_detectors_alone_and_beside_runs() -> None:
    record = sample.detection()
    alone = Outline(page(Contents((), (), "Made", True, (record,))))
    assert alone.headings[0][1] == (
        "AP on the test images after 100 steps: student 10.00, teacher 11.00, random 12.00."
    )
    assert [words for tag, words in alone.headings if tag == "h2"] == ["Detection"]
    assert "2 of 4 objects found, 2 false" in alone.text and "missed: dog" in alone.text and "cat .93" in alone.text
    assert "Made without pictures" not in alone.text
    assert "VOC 2007's AP50" in alone.text and "30.00" in alone.text  # three times the AP of the first, of cats
    data = json.loads(alone.scripts[0])
    assert data["runs"] == ["student", "teacher", "random"] and {c["over"] for c in data["charts"]} == {"steps of det"}
    assert data["charts"][0]["traces"][0]["x"] == [50, 100] and len(data["charts"]) == 4

    both = Outline(page(Contents((sample.run(),), (), "Made", True, (record,))))
    heads = [words for tag, words in both.headings if tag == "h2"]
    assert heads[0] == "What was run" and "Detection" in heads and heads[-1] == "Machine and versions"
    data = json.loads(both.scripts[0])
    assert data["runs"] == ["run", "student", "teacher", "random"]
    assert len({c["id"] for c in data["charts"]}) == len(data["charts"])  # no chart is drawn over another

    plain = page(Contents((), (), "Made", False, (sample.detection(photos=False),)))
    assert "data:image/jpeg" not in plain and "Made without pictures" in plain and "10.00" in plain


def test_names_of_classes_of_boxes_stay_text() -> None:
    record = sample.detection(EVIL)
    marks = ((sample.Mark("right", (0.1, 0.1, 0.2, 0.2), EVIL),) * 3,) * 3
    measured = {EVIL: {"student": {**record.measured["detect-v1 toy"]["student"], "per_class": {EVIL: 1.0}}}}
    photos = [replace(photo, marks=marks) for photo in record.photos]
    text = page(Contents((), (), "Made", True, (replace(record, photos=photos, measured=measured),)))
    found = Outline(text)
    assert "b" not in found.tags and EVIL in found.text and "not finished" not in found.text


def test_segmentation_alone() -> None:
    record = sample.segmentation()
    text = page(Contents((), (), "Made", True, (), (record,)))
    found = Outline(text)
    title = "mIoU on the test images after 100 steps: student 25.00, teacher 26.00, random 27.00."
    assert found.headings[0][1] == title and [words for tag, words in found.headings if tag == "h2"] == ["Segmentation"]
    assert "Made without pictures" not in found.text and "Settings, machine and versions" in found.text
    data = json.loads(found.scripts[0])
    assert data["runs"] == ["student", "teacher", "random"] and {c["over"] for c in data["charts"]} == {"steps of seg"}
    assert [len(c["traces"]) for c in data["charts"]] == [3, 3, 3]  # mIoU, pixel accuracy, loss
    assert data["charts"][0]["traces"][0]["x"] == [50, 100]
    # The best of a class is bold; the class that is neither there nor said has a dash for every network.
    assert text.count("<b>27.00</b>") == 1 and text.count("<b>26.00</b>") == 1 and text.count("<b>") == 2
    row = text[text.index('<th scope="row">class 2</th>') :]
    assert row[: row.index("</tr>")].count(">–<") == 3


def test_masks_are_told_in_words_too() -> None:
    record = sample.segmentation()
    text = page(Contents((), (), "Made", True, (), (record,)))
    found = Outline(text)
    assert text.count('class="plate"') == 2 * 5
    assert len([uri for uri in found.references if uri.startswith("data:image/png;")]) == 2 * 4
    assert "student: 90\xa0% right" in found.text and "random: 50\xa0% right" in found.text
    assert "Photo 2: class 0 50\xa0%, class 1 50\xa0%, void 40\xa0%" in found.text
    assert "void: does not count" in found.text and text.count('class="patch"') == 2
    labels = [f'aria-label="{name} of test photo 1: class 0 ' for name in ("true mask", "student", "teacher", "random")]
    assert all(label in text for label in labels)
    voidless = replace(record, photos=record.photos[:1])
    assert "does not count" not in Outline(page(Contents((), (), "Made", True, (), (voidless,)))).text


def test_the_words_of_a_mask() -> None:
    parts = tuple(Part(f"c{n}", n, 50 / 2**n) for n in range(8))
    assert segmentation.parts(Mask("", parts, void=0.4)) == (
        "c0 50 %, c1 25 %, c2 12 %, c3 6 %, c4 3 %, c5 2 %, 2 more, void under 1 %".replace(" %", "\xa0%")
    )


def test_the_two_passes_of_a_linear_probe_have_a_chart_each() -> None:
    record = sample.segmentation(networks=("student",))
    lines = [{"kind": "train", "step": s, "epoch": 0.1, "loss": 1.0, f"loss/{part}": 1 / s}
             for part, steps in (("tried", (1, 2, 3)), ("chosen", (4, 5, 6))) for s in steps]  # fmt: skip
    networks = [replace(record.networks[0], lines=[*lines, *record.networks[0].lines[-1:]])]
    found = Outline(page(Contents((), (), "Made", False, (), (replace(record, networks=networks),))))
    charts = json.loads(found.scripts[0])["charts"]
    assert [chart["traces"][0]["step"] for chart in charts] == [[1, 2, 3], [4, 5, 6]]
    assert "Sum over all learning rates tried." in found.text


def test_what_is_not_finished_or_not_measured_is_said() -> None:
    record = sample.segmentation(networks=("student", "teacher"))
    behind = replace(record, networks=[replace(record.networks[0], step=60), record.networks[1]])
    title = Outline(page(Contents((), (), "Made", False, (), (behind,)))).headings[0][1]
    assert title.endswith("teacher 26.00; not finished: student.")
    title = Outline(page(Contents((), (), "Made", False, (), (replace(behind, measured={}),)))).headings[0][1]
    assert title == "Two segmentation networks, not measured yet; not finished: student."


def test_why_there_are_no_photos_is_said() -> None:
    record = replace(sample.segmentation(photos=False), no_photos="No photos of seg: they are gone.")
    text = page(Contents((), (), "Made", True, (), (record,)))
    found = Outline(text)
    assert "No photos of seg: they are gone." in found.text
    assert not [reference for reference in found.references if reference.startswith("data:")]


def test_runs_detectors_and_segmentation_on_one_page() -> None:
    records = (
        (sample.detection("det", masks=True),),
        (sample.segmentation(), sample.segmentation("other", classes=40)),
    )
    text = page(Contents((sample.run(),), (), "Made", True, *records))
    found = Outline(text)
    heads = [words for tag, words in found.headings if tag == "h2"]
    assert heads[-3:] == ["Detection", "Segmentation", "Machine and versions"]
    assert [words for tag, words in found.headings if tag == "h3"][-3:] == ["det", "seg", "other"]
    levels = [int(tag[1]) for tag, _ in found.headings]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    data = json.loads(found.scripts[0])
    assert data["runs"] == ["run", *["student", "teacher", "random"] * 3]
    # No chart is drawn over another, no photo stands for another, and each network has a colour of its own.
    assert len(found.ids) == len(set(found.ids)) and {f"photo{n}-1" for n in range(3)} <= set(found.ids)
    assert {reference[1:] for reference in found.references if reference.startswith("#")} <= set(found.ids)
    shown = [trace["run"] for chart in data["charts"] for trace in chart["traces"] if chart["over"] == "steps of other"]
    assert set(shown) == {7, 8, 9} and "--ink9" in text
    assert re.findall(r"<details( open)?>\s*<summary>40 classes, one by one", text) == [""]  # shut
    title = Outline(page(Contents((), (), "Made", True, *records))).headings[0][1]
    assert title == "One folder of detectors and two folders of segmentation networks."


def test_instance_masks_lie_on_the_photos_with_boxes() -> None:
    text = page(Contents((), (), "Made", True, (sample.detection(masks=True),)))
    for kind in ("found", "missed", "void", "right", "wrong"):
        assert text.count(f'<path class="{kind}" ') == text.count(f'<path class="under {kind}" ') == 2 * 3
    assert "The masks of detections and of missed objects are filled" in text
    plain = page(Contents((), (), "Made", True, (sample.detection(),)))
    assert "<path class=" not in plain and "The masks of" not in plain


def test_names_of_classes_in_masks_stay_text() -> None:
    record = sample.segmentation(EVIL, ("student",))
    parts = (Part(EVIL, 0, 100.0),)
    photos = [replace(photo, truth=replace(photo.truth, parts=parts)) for photo in record.photos]
    line = {**record.measured["segment-v1 toy"]["student"], "per_class": {EVIL: 1.0}, "left_out": [EVIL + "!"]}
    made = replace(record, photos=photos, measured={EVIL: {"student": line}})
    found = Outline(page(Contents((), (), "Made", True, (), (made,))))
    assert "b" not in found.tags and found.tags.count("script") == 3 and found.text.count(EVIL) >= 4
