"""The embedded data set of the demonstration."""

from resmom.config import Log, Run
from resmom.evaluate.online import Online
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import SmallResNet
from resmom.nets.teacher import Ema
from resmom.train.optim import Sgd
from resmom.train.plan import Train
from resmom.views.policy import Policy, View


def mocov3_digits() -> Run:
    """MoCo-v3 on the demonstration's coloured handwritten digits: about a minute on 2 CPU cores.

    Source: ours.
    Command: resmom demo (it makes the images and runs this with and without the residual term).
    Result: see docs/log.md.
    """
    view = View(
        size=32, scale=(0.4, 1.0), flip=0.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.5, grey=0.2, blur=0.0
    )
    return Run(
        method=MoCoV3(temperature=0.2, hidden=512, out=128),
        backbone=SmallResNet(widths=(32, 64, 128)),
        policy=Policy((view, view), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        optim=Sgd(lr=0.1, weight_decay=1e-4),
        ema=Ema(0.99, 1.0),
        train=Train(epochs=10, batch=256, warmup_epochs=1),
        online=Online(lr=0.1),
        log=Log(knn_epochs=5),
    )
