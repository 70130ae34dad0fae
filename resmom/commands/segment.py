"""resmom segment train|resume|evaluate"""

from typing import TYPE_CHECKING

from resmom.commands.tuned import Tuned

if TYPE_CHECKING:
    from resmom.runs.finetuned.tuned import Work
    from resmom.runs.finetuned.tuning import Measured


def _work() -> "Work":
    from resmom.recipes.segmentation import segmentation_recipe
    from resmom.runs.finetuned.segment import segment_evaluate, segment_resume, segment_train
    from resmom.runs.finetuned.tuned import Work

    return Work(segmentation_recipe, segment_train, segment_resume, segment_evaluate)


def _say(rows: "list[Measured]") -> None:
    from resmom.runs.finetuned.segment_tasks import told

    for row in rows:
        chosen = f"  lr {row.scores['lr']:g}" if "lr" in row.scores else ""
        print(f"{row.network:<9} {told(row.scores)}{chosen}  step {row.step}")
    print(f"  {'IoU by class':<16}" + "".join(f"{row.network:>9}" for row in rows))
    for name in dict.fromkeys(name for row in rows for name in row.scores["per_class"]):
        said = [row.scores["per_class"].get(name) for row in rows]
        print(f"  {name:<16.16}" + "".join(f"{'-':>9}" if iou is None else f"{iou:9.2f}" for iou in said))
    # The learning rate that was chosen, and with it the protocol, may differ.
    for protocol in dict.fromkeys(row.protocol for row in rows):
        print(protocol)


SEGMENT = Tuned(
    verb="segment",
    summary="let a run's student and teacher name every pixel, fine-tuned or frozen under a linear layer, and measure "
    "them.",
    about="Backbones that name every pixel.",
    labels="masks",
    forms="VOC folders (FOLDER:LIST), pairs of folders, lists",
    things="networks",
    random="random weights",
    usual="segment_small",
    recipes=("cityscapes_fcn", "patch_linear", "segment_small", "voc12aug_fcn", "voc12aug_moco"),
    work=_work,
    say=_say,
    unfit=", of which patch_linear takes all, the other recipes the first four",
)
main = SEGMENT.main
