"""Every mistake in a call is answered by one sentence on standard error, exit status 2, and leaves nothing behind."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from resmom.commands import evaluate, mistakes, parse
from tests.conftest import Call

PRETRAIN = "pretrain mocov3_digits --data x.npz --out new"
DERIVED = "pretrain --data x.npz --out new"
COMPARE = "compare mocov3_digits --data x.npz --out new --vary residual.weight=0,1"

MISTAKES = {
    # values
    f"{PRETRAIN} --train.epochs 0": "--train.epochs must be at least 1; got 0",
    f"{PRETRAIN} --train.batch 1": "at least 2 images are needed at a time",
    f"{PRETRAIN} --train.micro-batch 1": "at least 2 images are needed at a time",
    f"{PRETRAIN} --train.batch 100": "has 70 images, --train.batch is 100: no batch can be filled; lower --tra",
    f"{PRETRAIN} --residual.weight -1": "--residual.weight is -1.0; it must be 0 (off) or positive",
    f"{PRETRAIN} --residual.weight nan": "--residual.weight is nan",
    f"{PRETRAIN} --method.temperature 0": "--method.temperature is 0.0; it must be above 0",
    f"{PRETRAIN} --backbone.widths 0 8": "--backbone.widths is (0, 8); give at least one width",
    f"{PRETRAIN} --backbone.widths": "--backbone.widths needs at least one value, several as words of their own: ",
    f"{PRETRAIN} --train.sizes": "several as words of their own: --train.sizes 0.5 0.75 1",
    f"{DERIVED} --train.sizes --train.batch 64": "--train.sizes needs at least one value",
    f"{COMPARE} --train.sizes": "--train.sizes needs at least one value",
    f"{PRETRAIN} --policy.views.0.blur 3": "--policy.views.N.blur is a probability and must be in [0, 1], got 3.0",
    f"{PRETRAIN} --log.save-epochs -1": "--log.save-epochs, --log.keep-epochs and --log.knn-epochs must be 0",
    f"{PRETRAIN} --log.knn-images 0": "--log.knn-images must be at least 1; got 0",
    f"{PRETRAIN} --device gpu": "no device 'gpu' here: devices are called cpu, cuda, cuda:1 …; use --device",
    f"{PRETRAIN} --threads -3": "--threads is -3; it is a number of threads, or 0 for torch's choice",
    f"{PRETRAIN} --workers -2": "--workers is -2; it is a number of threads, or -1 to let resmom choose",
    f"{PRETRAIN} --time soon": "the time (--time) is 'soon'; write it as 90s, 45m, 6h, 1h30m or 2d",
    "profile mocov3_digits --data x.npz --seconds 0": "--seconds is 0; it must be above 0",
    # of which one would count for nothing
    f"{PRETRAIN} --train.steps 2 --train.epochs=3": "--train.epochs 3 has no effect beside --train.steps 2",
    f"{DERIVED} --train.epochs 3 --train.steps 2": "--train.epochs 3 has no effect beside --train.steps 2",
    f"{COMPARE} --train.steps 2 --train.epochs 3": "--train.epochs 3 has no effect beside --train.steps 2",
    "profile mocov3_digits --data x.npz --train.steps 2 --train.epochs 3": "leave one of them out (--train.steps 0 c",
    # of another kind
    f"{PRETRAIN} --train.epochs many": "--train.epochs is 'many'; it takes a whole number (`resmom pretrain mocov3_",
    f"{PRETRAIN} --train.epochs=1.5": "--train.epochs is '1.5'; it takes a whole number",
    f"{PRETRAIN} --train.warmup_epochs x": "--train.warmup-epochs is 'x'; it takes a number",
    f"{PRETRAIN} --train.drops .5 x": "--train.drops is '.5 x'; it takes numbers",
    f"{PRETRAIN} --policy.views.0.scale 1 x --quiet": "--policy.views.0.scale is '1 x'; it takes 2 numbers",
    f"{PRETRAIN} --backbone.widths 8,16": "it takes whole numbers, as words of their own: --backbone.widths 8 16 (`",
    f"{PRETRAIN} --backbone.widths '[8, 16]'": "it takes whole numbers, as words of their own: --backbone.widths 8 16",
    f"{PRETRAIN} --backbone.widths [8, 16]": "it takes whole numbers, as words of their own: --backbone.widths 8 16",
    f"{PRETRAIN} --policy.views.0.scale .2,1": "2 numbers, as words of their own: --policy.views.0.scale .2 1",
    f"{PRETRAIN} --train.precision fp8": "--train.precision is 'fp8'; it is one of fp32, bf16, fp16",
    f"{DERIVED} --train.epochs many": "--train.epochs is 'many'; it takes a whole number",
    f"{PRETRAIN} --image-size large": "--image-size cannot be 'large'; it is 32 in this run",
    f"{PRETRAIN} --image-size 16.5": "--image-size is 16.5; it takes a whole number of pixels, such as 32",
    f"{PRETRAIN} --orientation sideways": "is 'sideways'; it is upright, for images that have an up, or any, for",
    f"{DERIVED} --orientation uprigt": "for those that have none; did you mean upright?",
    "compare mocov3_digits --data x.npz --out new --vary orientation=any,some": "--orientation is 'some'; it is upr",
    f"{PRETRAIN} --policy.views.0.rotation 200": "rotation is the largest angle in degrees and must be in [0, 180]",
    f"{DERIVED} --workers many": "--workers is 'many'; it takes a whole number",
    "evaluate run --protocols linaer": "--protocols is 'linaer'; it is one of knn, linear, online",
    "evaluate run --linear.epochs 0": "--linear.epochs and --linear.batch must be at least 1; got 0",
    "gap run --images 1.5": "--images is '1.5'; it takes a whole number",
    "embed run --out v.npz --site q": "--site is 'q'; it is one of h, z, p",
    "export run --to coreml": "--to is 'coreml'; it is one of safetensors, detectron2, onnx",
    "data pack x.npz --out new --side x": "--side is 'x'; it takes a whole number",
    "demo --threads x": "--threads is 'x'; it takes a whole number",
    "detect train run --data x --out new --batch x": "--batch is 'x'; it takes a whole number",
    "segment train run --data x --out new --lr x": "--lr is 'x'; it takes a number",
    # no value
    f"{PRETRAIN} --train.epochs": "--train.epochs needs a whole number (`resmom pretrain mocov3_digits --help`",
    f"{PRETRAIN} --policy.views.0.scale 1": "--policy.views.0.scale needs 2 numbers",
    f"{PRETRAIN} --time": "--time needs a value: fit the run into this time, as in 45m, 6h or 1h30m",
    f"{PRETRAIN} --backbone": "--backbone needs a value",
    f"{PRETRAIN} --image-size 1": "--image-size is 1; it must be at least 8 pixels",
    f"{PRETRAIN} --image-size": "--image-size needs a value",
    f"{PRETRAIN} --views": "--views needs a value",
    f"{PRETRAIN} --orientation": "--orientation needs a value",
    "pretrain --data x.npz --out": "--out needs a path",
    "detect train run --data x --out new --recipe": "--recipe needs a value",
    f"{COMPARE} --seeds": "--seeds needs a value: the seeds of every arm",
    # nothing of what must be there
    "pretrain mocov3_digits": "--data and --out are missing (`resmom pretrain mocov3_digits --help` lists the options)",
    "pretrain --data x.npz": "--out is missing: the run folder: new, or empty",
    "resume": "RUN is missing: the run folder",
    "profile": "--data is missing: a folder of images",
    "detect train run": "name --data and --out (`resmom detect --help` lists the forms)",
    "evaluate run --protocols": "--protocols needs at least one of knn, linear, online",
    "recipes show": "name the recipe to show",
    "compare show": "no result file was given",
    "report": "no run was given",
    # an option that there is not
    f"{PRETRAIN} --epochs 3": "there is no option --epochs; did you mean --train.epochs? (`resmom pretrain mocov3_",
    f"{DERIVED} --epochs 3": "there is no option --epochs; did you mean --train.epochs? (`resmom pretrain --help`",
    f"{COMPARE} --epochs=3": "there is no option --epochs; did you mean --train.epochs?",
    f"{PRETRAIN} --residul.weight 1": "there is no option --residul.weight; did you mean --residual.weight?",
    f"{PRETRAIN} --method.shuffle-bn 32": "no option --method.shuffle-bn here; it belongs to --method mocov2, ",
    f"{PRETRAIN} --method.same_view": "no option --method.same_view here; it belongs to --method mocov2, ressl",
    f"{PRETRAIN} --backbone resnet18 --backbone.patch 8": "it belongs to the settings of MoCoViT, DinoViT (`resmom "
    "pretrain mocov3_digits --backbone resnet18 --help`",
    f"{PRETRAIN} --optim.trust .1": "there is no option --optim.trust here; it belongs to the settings of Lars (",
    f"{PRETRAIN} --batch_size 8": "there is no option --batch_size; did you mean --train.batch? (",
    f"{PRETRAIN} --bakbone resnet18": "there is no option --bakbone; did you mean --backbone? (",
    f"{PRETRAIN} --orientaton any": "there is no option --orientaton; did you mean --orientation? (",
    f"{PRETRAIN} --method.teacher-temp 1": "; --method.teacher-temperature belongs to --method dino, ibot, dinov2,",
    f"{DERIVED} --method dino --method.teacher-temp 1": "; did you mean --method.teacher-temperature? (",
    f"{DERIVED} --method byol --method.queu 8": "; --method.queue belongs to --method nnclr, mocov2, ",
    f"{DERIVED} --method byol --method.temp 1": "; --method.temperature belongs to --method mocov3, simclr, nn",
    f"{PRETRAIN} --method.masks.ratio .5": "here; it belongs to --method ibot, dinov2 (",
    f"{PRETRAIN} --queue-size 8": "; --method.queue belongs to --method nnclr, mocov2, ressl, densecl, ",
    "compare mocov3_digits --data x.npz --out new --vary method.queue=8,16": "here; it belongs to --method nnclr, mo",
    f"{PRETRAIN} --ema.tau .9": "; did you mean --ema.momentum? (",
    f"{PRETRAIN} --lr 1": "; did you mean --optim.lr? (",
    f"{PRETRAIN} --optim.learning-rate 1": "; did you mean --optim.lr? (",
    f"{PRETRAIN} --temperature 1": "; did you mean --method.temperature or --knn.temperature? (",
    f"{PRETRAIN} --num_workers 1": "; did you mean --workers? (",
    f"{PRETRAIN} -j 1": "; did you mean --workers? (",
    f"{PRETRAIN} --gpus 2": "; --device names one GPU, and `torchrun --nproc-per-node N -m resmom pretrain ...` trains",
    f"{DERIVED} --wandb": "; --log-to wandb, wandb-online or tensorboard writes the measurements for other tools (",
    f"{PRETRAIN} --use_fp16": "; --train.precision is fp32, bf16 or fp16 (",
    # methods by their names
    f"{PRETRAIN} --method dinov2": "resmom pretrain: DINOv2 hides patches of the views, so it needs a Vision Trans",
    f"{PRETRAIN} --method barlow --train.micro-batch 8": "the loss of Barlow Twins is one of the whole batch, whose",
    f"{PRETRAIN} --method byol --policy.views.1.size 16": "pixels, and BYOL compares views of one size; set it for all",
    # what the residual term can never be, while its weight is 0
    f"{PRETRAIN} --method ressl --method.queue 64 --residual.site p": "ReSSL as it is set has no site p; "
    "--residual.site is one of h, z for it",
    f"{DERIVED} --method ressl --residual.site p": "ReSSL as it is set has no site p; --residual.site is one of h, z",
    f"{PRETRAIN} --method.predictor-layers 0 --residual.site p": "; p needs a predictor, --method.predictor-layers of",
    f"{DERIVED} --method dinov2 --method.patch-pairs --residual.site=logits": "; for logits leave --method.patch-pairs",
    f"{DERIVED} --method simclr --ema.momentum 0.9": "SimCLR has no teacher, which --ema.momentum would move: leave ",
    f"{DERIVED} --method simclr --residual.site z": "SimCLR has no teacher, so there is no gap to close: leave "
    "--residual.site out, or choose a method with a teacher",
    f"{PRETRAIN} --residual.pairs local": "MoCo-v3 as it is set hands out no same-view pairs 'local'; --residual.pairs",
    f"{DERIVED} --method dino --residual.pairs local": "all, global for it; 'local' needs --method.local-pairs",
    f"{DERIVED} --method densecl --residual.pairing cross": "but in DenseCL it sees one; leave it at 'same'",
    f"{COMPARE} --method.predictor-layers 0 --residual.site p": "p needs a predictor, --method.predictor-layers of 1",
    "profile mocov3_digits --data x.npz --method.predictor-layers 0 --residual.site p": "MoCo-v3 as it is set has no",
    f"{PRETRAIN} --optim.lrr 1": "there is no option --optim.lrr; did you mean --optim.lr? (",
    f"{DERIVED} --config x.yaml": "there is no option --config; a recipe is named by the first word after the command",
    f"{DERIVED} --resume run": "there is no option --resume; a run goes on with `resmom resume DIR` (",
    "pretrain --dta x.npz --out new": "there is no option --dta; did you mean --data?",
    "evaluate run --netwrk student": "there is no option --netwrk; did you mean --network?",
    "doctor --jsn": "there is no option --jsn; did you mean --json?",
    "recipes --helpp": "there is no '--helpp'; it is `resmom recipes`, or `resmom recipes show NAME`",
    # a word that there is not, or too many
    f"{COMPARE} --seeds 0 1": "'1' is one word too many: several values are one word, with commas: --seeds 0,1 (",
    "compare mocov3_digits --data x.npz --out new --vary residual.weight 0 1": "--vary residual.weight=0,1 (",
    f"{PRETRAIN} more": "'more' is one word too many",
    f"{PRETRAIN} --quiet yes": "'yes' is one word too many: --quiet is a switch, without a value; --no-quiet turns it ",
    f"{PRETRAIN} --train.clip_each true": "'true' is one word too many: --train.clip-each is a switch, without a "
    "value; --train.no-clip-each turns it off (",
    "recipes show mocov3_digits --yaml": "leave '--yaml' out",
    "recipes show mocov3_cifar10_r81": "did you mean mocov3_cifar10_r18",
    "recipes shwo": "there is no 'shwo'",
    "pretrain mocov3_digit --data x.npz --out new": "did you mean mocov3_digits",
    "pretrain x.npz --out new": "there is no recipe 'x.npz': x.npz looks like images, not a run; images are named with "
    "--data x.npz",
    "pretrain photos --data x.npz --out new": "photos looks like images, not a run; images are named with --data photo",
    "pretrain cifar10 --out new": "cifar10 looks like images, not a run; images are named with --data cifar10",
    "pretrain byol --data x.npz --out new": "no recipe 'byol'; a method is named by --method byol; did you mean byol_",
    "pretrain resnet18 --data x.npz --out new": "no recipe 'resnet18'; a backbone is named by --backbone resnet18 (",
    f"{PRETRAIN} photos": "'photos' is one word too many; images are named with --data photos (",
    f"{PRETRAIN} --val-data photos": "; images to test on are a test/ or val/ folder beside train/ in --data, or a sha",
    f"{PRETRAIN} --no-residual": "; --residual.weight 1 is with the residual term, 0 without (",
    f"{PRETRAIN} --compile": "--compile needs one of no, kernels, graphs (",
    f"{DERIVED} --init x.npz": "x.npz is damaged or not a file of weights: it is neither torch's format nor named",
    f"{DERIVED} --init arm/seed-0": "arm/seed-0 is a run folder; name a file of its weights: arm/seed-0/export/model.s",
    f"{DERIVED} --init arm/seed-1": "arm/seed-1 is a run folder; name a file of its weights: arm/seed-1/checkpoints/la",
    f"{DERIVED} --init exported": "exported is a folder; name one of its files, such as exported/model.safetensors",
    f"{DERIVED} --init arm": "arm is a folder; give the file, as in RUN/checkpoints/last.pt or model.safetensors",
    "pretrain mocov3_digits --data arm/seed-0 --out new": "arm/seed-0 is the folder of a run, and holds no images; its",
    "pretrain mocov3_digits --data photos/0.png --out new": "photos/0.png is one image; name the folder of all of them",
    "pretrain mocov3_digits --data photos,x.npz --out new": "photos,x.npz names several places, and images are in one:",
    "compare automatic --data x.npz": "no recipe 'automatic'; settings that are derived from images and",
    "compare mocov3_digit": "did you mean mocov3_digits",
    "data chek x.npz": "there is no 'chek'; it is `resmom data check PATH`",
    "detect trian run": "there is no 'trian'; it is `resmom detect train`",
    "segment train run --recipe nothing --data x --out new": "there is no segmentation recipe 'nothing'",
    # places
    "pretrain mocov3_digits --data x.npz --out file": "file is a file; give another folder (--out)",
    "pretrain mocov3_digits --data x.npz --out file/new": "file is a file, so there can be no folder below it",
    "pretrain mocov3_digits --data broken.npz --out new": "broken.npz cannot be read as an .npz file (it is damaged",
    f"{DERIVED} --views views.jpg": "views.jpg is no .png file, and views are drawn into one: name it as in views.png",
    "pretrain --data x.npz --views views": "views is no .png file",
    f"{PRETRAIN} --views other.png": "other.png exists and is no picture of views; name another file, or move it away",
    f"{DERIVED} --init nowhere.pt": "--init: there is no file of weights at nowhere.pt",
    f"{DERIVED} --init file": "--init: file is damaged or not a file of weights",
    "demo --out file/new": "not a directory; choose another place",
    "compare mocov3_digits --data x.npz --out file --vary residual.weight=0,1": "file is a file; --out must be",
    "pretrain --data x.npz --out /proc/new": "/proc/new cannot be written: the system says",
    "resume file": "file is no run folder, and no file in the checkpoints/ folder of one",
    "evaluate weights.pt --data x.npz": "weights.pt is weights, not a run: name them by --init weights.pt",
    "evaluate exported --data x.npz": "exported is no run folder; weights without a run are named by --init, such as "
    "exported/model.safetensors",
    "embed exported/model.safetensors --out new.npz": "name them by --init exported/model.safetensors",
    "export exported/model.safetensors": "name them by --init exported/model.safetensors",
    "export exported/model.safetensors --to onnx": "name them by --init exported/model.safetensors",
    "export old.pth.tar": "old.pth.tar is weights, not a run: name them by --init old.pth.tar",
    "export images.tar": "images.tar looks like images, not a run; images are named with --data images.tar",
    "evaluate --init arm/seed-0 --data x.npz": "arm/seed-0 is a run folder, which is named by itself: leave --init out",
    "evaluate run --linear-probe": "no option --linear-probe; --protocols linear is the linear probe, and --linear-",
    "evaluate run --checkpoint last.pt": "no option --checkpoint; RUN may be one of its checkpoints, as in RUN/checkpo",
    "evaluate run --label_fraction .1": "no option --label_fraction; --labels 0.01 learns from a hundredth of every",
    "evaluate run --shots 5": "no option --shots; --low-shot 1,5 learns from so many images per class (",
    "evaluate run --teacher": "no option --teacher; --network student or teacher measures one of the two (",
    "evaluate run --protocols knn,linear": "it is one of knn, linear, online, as words of their own: --protocols knn l",
    "evaluate run --low-shot 1, 5": "'5' is one word too many: several values are one word, with commas: --low-shot 1,",
    "evaluate run --low-shot 0": "--low-shot needs numbers of images per class, of at least 1; got 0",
    "evaluate run --low-shot 1 --draws 0": "--draws must be at least 1, --seed at least 0, and c above 0; got 0, 0, 1",
    "evaluate run --against": "--against needs at least one value, several as words of their own: --against ONE OTHER",
    "evaluate run --knn 20": "no option --knn; --protocols knn measures by it (",
    "evaluate run --linear": "no option --linear; --protocols linear is the linear probe",
    "evaluate run --test photos": "; images to test on are a test/ or val/ folder beside train/ in --data",
    "evaluate run --network ema": "it is one of student, teacher, both; did you mean teacher? (",
    "evaluate run photos": "'photos' is one word too many; images are named with --data photos (",
    "evaluate run --protocols finetune": "it is one of knn, linear, online; --finetune measures that (",
    "evaluate run --protocols linear-v1": "it is one of knn, linear, online; did you mean linear? (",
    "export run --checkpoint last": "no option --checkpoint; RUN may be one of its checkpoints",
    "export run --to tb": "did you mean tensorboard? (",
    "gap run --out x": "no option --out; the table is printed, and its numbers are kept in RUN/gaps.jsonl (",
    "embed run --out v.npz --format csv": "no option --format; vectors are written as arrays in an .npz file",
    "report run --format pdf": "no option --format; a page is HTML",
    "report arm/seed-0 --out new.pdf": "a report is a page in HTML: --out must be named so, such as new.html",
    "report run -o x": "no option -o; did you mean --out?",
    "compare show x --format tex": "did you mean latex? (",
    "detect train run --data x --test --out new": "--test needs at least one value, several as words of their own",
    "detect train run --data x --out new --epochs 5": "no option --epochs; --steps is the length of a training (",
    "profile mocov3_digits --data x.npz --train.sizes": "own: --train.sizes 0.5 0.75 1",
    "resume run --epochs 200": "a run keeps its folder, its settings and its length, which --epochs would change; begi",
    "resume run --out new": "a run keeps its folder, its settings and its length, which --out would change; begin anot",
    "export run --to timm": "timm and torchvision load the .safetensors that are written by default (",
    f"{COMPARE} --against weight=0": "no option --against; it is an option of `resmom compare show DIR` (",
    f"{COMPARE} --format latex": "no option --format; it is an option of `resmom compare show DIR` (",
    "compare show x --latex": "no option --latex; did you mean --format latex? (",
    "compare show x --format latex --out t.tex": "no option --out; the table is printed, and a shell puts it into a f",
    "compare mocov3_digits --data x.npz --out new --vary residual.weight=0,1 method=byol,mocov3": "every option has a "
    "--vary of its own: --vary residual.weight=0,1 --vary method=byol,mocov3 (",
    "compare mocov3_digits --data x.npz --out new --vary methods=byol,mocov3": "no option 'methods'; did you mean meth",
    "embed run --batch-size 3": "there is no option --batch-size (",  # before --out, which is missing
    "evaluate file": "file is no run folder, and no file in the checkpoints/ folder of one\n",
    "gap x.npz": "x.npz looks like images, not a run; images are named with --data x.npz",
    "gap photos": "photos looks like images, not a run; images are named with --data photos",
    "report pack": "pack looks like images, not a run",
    "evaluate arm": "arm is not a run folder, but has some inside: arm/seed-0, arm/seed-1, arm/seed-2 and 1 more; name",
    "evaluate runs": "runs is not a run folder, but has some inside: runs/arm/seed-0; name one of them",
    "evaluate compared": "compared holds a comparison, not a run; its runs are compared/w=0/seed-0, and `resmom compar",
    "report compared/cells.jsonl": "compared holds a comparison, not a run; its runs are compared/w=0/seed-0, and",
    "resume compared/w=0": "compared/w=0 is not a run folder, but has some inside: compared/w=0/seed-0; name one of th",
    "evaluate arm/seed-1/checkpoints": "arm/seed-1/checkpoints lies in the folder of a run; name that: arm/seed-1\n",
    "resume arm/seed-1/checkpoints/last.pt": "last.pt lies in the folder of a run; name that: arm/seed-1\n",
    "evaluate arm/seed-1/checkpoints/step-9.pt": "does not exist; the checkpoints of arm/seed-1 are arm/seed-1/checkpo",
    "evaluate nowhere/checkpoints/last.pt": "last.pt does not exist; name a run folder",
    "evaluate arm/seed1": "arm/seed1 does not exist; did you mean arm/seed-1?\n",
    "gap nowhere.pth": "nowhere.pth does not exist, and would be weights, not a run: name them by --init nowhere.pth",
    "export detectors/student": "detectors/student lies in detectors: detectors holds detectors, not a run; it is for",
    "detect resume detectors/student": "it has no detect.json; detectors/student lies in detectors: detectors holds de",
    "segment resume detectors": "it has no segment.json; detectors holds detectors, not a run; it is for `resmom detec",
    "predict detectors/student --data x.npz --out new": "holds nothing that names classes; detectors/student lies in d",
    "resume weights.pt": "weights.pt is weights, not a run, and a run goes on with its other networks and its "
    "optimiser, too: name them by --init weights.pt, which pretrain, compare, ",
    "resume detectors/student/checkpoints/last.pt": "; detectors/student/checkpoints/last.pt lies in detectors: detect",
    "report arm/seed-0/export/model.safetensors": "model.safetensors is weights, not a run, and a page is about "
    "what was measured in a run: name them by --init",
    "evaluate arm/seed-0/export/model.safetensors": "; the run in whose folder they lie is arm/seed-0\n",
    "report arm/seed-0/run.json": "arm/seed-0/run.json lies in the folder of a run; name that: arm/seed-0\n",
    "gap timm:resnet18": "timm:resnet18 is weights, not a run, and a gap is between a run's student and its teacher: n",
    "evaluate timm:resnet18": "timm:resnet18 is weights, not a run: name them by --init timm:resnet18",
    "pretrain weights.pt --data x.npz --out new": "there is no recipe 'weights.pt': weights.pt is weights, not a",
    "compare timm:resnet18 --data x.npz": "there is no recipe 'timm:resnet18': timm:resnet18 is weights, not",
    "profile weights.pt --data x.npz": "there is no recipe 'weights.pt': weights.pt is weights, not a run: name",
    "gap nowhere": "nowhere does not exist; name a run folder",
    "compare show file": "file holds no cells of a comparison",
    "data check nowhere": "nowhere does not exist",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with images, and files that are not what they should be."""
    images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 1)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images)
    (tmp_path / "broken.npz").write_text("no archive")
    (tmp_path / "exported").mkdir()
    for seed in range(4):
        (tmp_path / f"arm/seed-{seed}/export").mkdir(parents=True)
        (tmp_path / f"arm/seed-{seed}/run.json").write_text("{}")
    for name in (
        *("compared/w=0/seed-0/run.json", "compared/cells.jsonl", "runs/arm/seed-0/run.json"),
        "arm/seed-1/checkpoints/last.pt",
        "detectors/detect.json",
        "detectors/student/checkpoints/last.pt",
        "photos/0.png",
        "pack/pack.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    for name in ("arm/seed-0/export/model.safetensors", "exported/model.safetensors", "pack/train-00000.bin"):
        (tmp_path / name).write_text("hello")
    for name in ("file", "other.png", "weights.pt", "old.pth.tar", "images.tar"):
        (tmp_path / name).write_text("hello")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence(call: Call, place: Path, line: str) -> None:
    before = sorted(place.iterdir())
    words = shlex.split(line)
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"resmom {words[0]}: ") and err.count("\n") == 1
    assert MISTAKES[line] in err
    assert "---" not in err and not any(frame in err for frame in "│─╭")
    assert sorted(place.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["the hook", "a name"])
@pytest.mark.parametrize("line", [f"{PRETRAIN} --train.epochs many", f"{PRETRAIN} --epochs 3", "evaluate run --draws"])
def test_a_box_is_told_in_one_line_where_its_case_is_not_known(
    call: Call, place: Path, monkeypatch: pytest.MonkeyPatch, line: str, missing: str
) -> None:
    """As with a version of tyro that has no hook or other names in it, or a kind of mistake that is new."""
    option = line.split()[-1 if line.endswith("draws") else -2]
    if missing == "the hook":
        monkeypatch.setattr(mistakes, "events", None)
    else:
        monkeypatch.setattr(mistakes, "_sentence", lambda *_: object().name)  # type: ignore[attr-defined]
    status, _, err = call(*line.split())
    assert status == 2 and err.count("\n") == 1
    assert option in err and "lists the options)" in err
    assert "---" not in err and not any(frame in err for frame in "│─╭")


@pytest.mark.parametrize("verb", ["evaluate", "resume", "predict", "doctor", "export"])
def test_help_shows_what_an_option_takes_and_not_that_it_may_be_nothing(verb: str, call: Call) -> None:
    status, out, _ = call(verb, "--help")
    assert status == 0 and "{None" not in out and "|PATH" not in out
    if verb == "evaluate":
        assert "[PATH]" in out and " --data STR " in out and " --draws INT " in out
        assert " --stem {imagenet,small,small_pad2,small_pool}" in out


def test_what_may_be_left_out_is_taken_as_before() -> None:
    def of(*words: str) -> evaluate.Arguments:
        return parse(evaluate.Arguments, list(words), "resmom evaluate", "")

    given = of("run", "--draws", "3", "--protocols", "knn", "linear", "--stem", "small", "--data", "x")
    assert (given.run, given.draws, given.protocols) == (Path("run"), 3, ("knn", "linear"))
    assert (given.weights.stem, given.data) == ("small", "x")
    left = of("--draws", "None", "--protocols", "None", "--stem", "None", "--data", "None")
    assert left == of() == evaluate.Arguments()
