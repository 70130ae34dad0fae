"""resmom detect train|resume|evaluate"""

from typing import TYPE_CHECKING

from resmom.commands.tuned import Tuned

if TYPE_CHECKING:
    from resmom.runs.finetuned.tuned import Work
    from resmom.runs.finetuned.tuning import Measured


def _work() -> "Work":
    from resmom.recipes.detection import detection_recipe
    from resmom.runs.finetuned.detect import detect_evaluate, detect_resume, detect_train
    from resmom.runs.finetuned.tuned import Work

    return Work(detection_recipe, detect_train, detect_resume, detect_evaluate)


def _say(rows: "list[Measured]") -> None:
    masks = "mask_ap" in rows[0].scores
    for row in rows:
        both = f"{_three(row, '')}  masks: {_three(row, 'mask_')}" if masks else _three(row, "")
        print(f"{row.network:<9} {both}  VOC07: {_three(row, 'voc07_')}  step {row.step}")
    _by_class(rows, "per_class", "AP by class")
    _by_class(rows, "voc07_ap50_per_class", "VOC07 AP50 by class")
    if masks:
        _by_class(rows, "mask_per_class", "mask AP by class")
    for protocol in dict.fromkeys(row.protocol for row in rows):  # of networks at different steps there are several
        print(protocol)


def _three(row: "Measured", kind: str) -> str:
    return "  ".join(f"{name} {row.scores[kind + name.lower()]:5.2f}" for name in ("AP", "AP50", "AP75"))


def _by_class(rows: "list[Measured]", key: str, words: str) -> None:
    if any(key not in row.scores for row in rows):  # measured by an older version, which did not keep them
        return
    print(f"  {words:<20}" + "".join(f"{row.network:>9}" for row in rows))
    for name in rows[0].scores[key]:
        print(f"  {name:<20.20}" + "".join(f"{row.scores[key][name]:9.2f}" for row in rows))


DETECT = Tuned(
    verb="detect",
    summary="fine-tune a run's student and teacher as object detectors, and measure them.",
    about="Fine-tune backbones as detectors.",
    labels="boxes",
    forms="VOC folders (FOLDER:LIST), COCO's .json (needed for masks), YOLO folders",
    things="detectors",
    random="a detector on random weights",
    usual="detect_small",
    recipes=(
        "coco_fpn_1x",
        "coco_fpn_2x",
        "coco_mask_1x",
        "coco_mask_2x",
        "coco_vitdet",
        "detect_small",
        "voc0712_c4",
    ),
    work=_work,
    say=_say,
    unfit=", of which all but timm:NAME can become detectors",
)
main = DETECT.main
