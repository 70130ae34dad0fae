"""resmom detect train|resume|evaluate"""

from resmom.commands.tuned import Tuned
from resmom.nets.backbones import BACKBONES
from resmom.recipes.detection import DETECTION, detection_recipe
from resmom.runs.detect import detect_evaluate, detect_resume, detect_train
from resmom.runs.tuning import Measured


def _say(rows: list[Measured]) -> None:
    for row in rows:
        s = row.scores
        print(
            f"{row.network:<9} AP {s['ap']:5.2f}  AP50 {s['ap50']:5.2f}  AP75 {s['ap75']:5.2f}  VOC07: "
            f"AP {s['voc07_ap']:5.2f}  AP50 {s['voc07_ap50']:5.2f}  AP75 {s['voc07_ap75']:5.2f}  step {row.step}"
        )
    print(f"  {'AP by class':<16}" + "".join(f"{row.network:>9}" for row in rows))
    for name in rows[0].scores["per_class"]:
        print(f"  {name:<16.16}" + "".join(f"{row.scores['per_class'][name]:9.2f}" for row in rows))
    print(rows[-1].protocol)


DETECT = Tuned(
    verb="detect",
    summary="fine-tune a run's student and teacher as object detectors, and measure them.",
    about="Fine-tune backbones as detectors.",
    labels="boxes",
    forms="VOC folders (FOLDER:LIST), COCO's .json, YOLO folders",
    things="detectors",
    random="a detector on random weights",
    usual="detect_small",
    recipes=DETECTION,
    recipe=detection_recipe,
    train=detect_train,
    resume=detect_resume,
    evaluate=detect_evaluate,
    say=_say,
    unfit=f" (of which {BACKBONES.partition(', vit')[0]} can become detectors)",
)
main = DETECT.main
