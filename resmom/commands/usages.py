"""What `resmom pretrain --help` and `resmom compare --help` print: forms of the call, without the options of a recipe.

These stand beside networks and methods, and importing them imports torch; here nothing does.
"""

import textwrap

from resmom.which import BACKBONES, METHODS

EVERY_FIELD = (
    "Pretrain an encoder. Every field of the run is an option. --backbone NAME takes another backbone "
    f"({BACKBONES}), --method NAME another method ({', '.join(METHODS)}), "
    "--image-size N views of so many pixels, local ones apart, --orientation any views of images that have no up."
)
"""About the options of `resmom pretrain` with a recipe."""


def _names(option: str, names: str) -> str:
    return textwrap.fill(names, 115, initial_indent=f"  {option:<27}", subsequent_indent=" " * 29)


PRETRAIN = f"""usage: resmom pretrain --data DATA --out DIR [--time 6h] [--init WEIGHTS] [OPTIONS]
       resmom pretrain RECIPE --data DATA --out DIR [OPTIONS]
       resmom pretrain RUN --out DIR [OPTIONS]
       resmom pretrain FILE.json --data DATA --out DIR [OPTIONS]

Without a recipe all settings are derived from the images and the machine, and printed with their reasons. RUN is the
folder of another run: a new one with its settings, on its images unless --data names others. FILE.json has settings as
`resmom recipes show NAME` prints them, or is a run.json.

The settings that are most often given, with or without a recipe (docs/automatic.md has the rules):
  --init WEIGHTS             start from weights: a file, or timm:NAME (as in timm:resnet50.a1_in1k), published ones
                             that are downloaded once
{_names("--backbone NAME", BACKBONES)}
{_names("--method NAME", ", ".join(METHODS))}
  --image-size N             side of the views in pixels, and of the image that a transformer is made for
  --orientation any          the images have no up (from above, through a microscope): views are turned by quarter
                             turns and flipped top to bottom too
  --train.batch N            images per step; --train.micro-batch N: as many at once
  --train.epochs N           passes over the images; or --train.steps N: steps instead
  --train.seed N             another seed is another run of the same
  --train.precision NAME     fp32, bf16 or fp16
  --optim.lr X               learning rate per 256 images
  --ema.momentum X           the teacher's momentum at the start
  --residual.weight X        the residual term, 0 is off; --residual.site, .pairing, .distance
  --device NAME              cpu, cuda, ...; --workers N (-1: resmom's choice), --threads N (0: torch's choice);
                             --deterministic: repeatable on a GPU; --compile graphs: backbones by torch's inductor
  --log-to NAME              the measurements for tensorboard, wandb (nothing is sent) or wandb-online, too
  --or-resume                continue the run where --out holds it already; for job scripts (docs/cluster.md)
  --dry-run                  say what the run would be and cost (time, disk, memory), and write nothing; without
                             --out too
  --views FILE.png           draw some images and their views, as the run would have them, and start nothing; without
                             --out too
  --json                     print the result as JSON

`resmom pretrain RECIPE --help` tells every option of a recipe; a run without one has the same.
`resmom recipes` lists the recipes; every one with a teacher has a twin NAME_residual, with the residual term.
"""

COMPARE = """usage: resmom compare RECIPE --data DATA --out DIR --vary OPTION=A,B [--vary ...] [--seeds 0,1,2] [OPTIONS]
       resmom compare RUN --out DIR --vary OPTION=A,B [OPTIONS]   with the settings and images of a run on disk
       resmom compare GRID.json --data DATA --out DIR [OPTIONS]
       resmom compare show DIR|FILE ... [--against ARM] [--together] [--format markdown|latex|csv]   finished cells
       resmom compare merge FILE ... --out FILE           result files of several machines as one

The same call goes on where the last one ended. Every finished cell is a line of DIR/cells.jsonl.
`resmom compare RECIPE --help` tells the options; docs/compare.md the form of a grid file.
"""

USAGES = {"pretrain": PRETRAIN, "compare": COMPARE}
