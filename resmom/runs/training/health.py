"""Label-free health of a run: what student and teacher make of the same few training images, in evaluation mode."""

from collections.abc import Callable
from contextlib import ExitStack
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.diagnose.gap import GapSums
from resmom.diagnose.health import alignment, feature_sd, rankme, retrieval, uniformity
from resmom.evaluate.features import frozen
from resmom.evaluate.gap import place_sums, site_sums
from resmom.nets.teacher import Ema, twins
from resmom.runs.clean import leading_batches, thinned
from resmom.runs.training.job import Job
from resmom.train.plan import momentum
from resmom.train.state import networks_of
from resmom.train.step import autocast
from resmom.types import Encoding
from resmom.which import Network

IMAGES = 512
"""Most images that are measured: half a minute of a ViT on one core, and enough for a rank of some hundred."""
CHUNK = 128
"""Images whose views are made and encoded at once."""


def health_line(job: Job, most: int = IMAGES) -> dict[str, Any]:
    """The measures of `diagnose/health.py` and the eval-mode gaps as a line of metrics.jsonl; see docs/health.md.

    Measured on at most so many training images, the same ones each time, each in the recipe's views of epoch 0, at the
    precision of training. Measures of a single view are means over the views. Nothing is written into the networks.
    Only the first process of a group measures; the others get an empty line.
    """
    if dist.rank() != 0:
        return {}
    networks, at_places = _encoded(job, most)
    student = networks["student"]
    images = len(student[0].h)
    line: dict[str, Any] = {"kind": "health", "images": images, "width": student[0].h.shape[1]}
    for name, said in networks.items():
        line |= {f"{name}/{measure}": value for measure, value in _measures([e.h for e in said]).items()}
    if "teacher" in networks:
        if images > 1:  # the chance gap compares different images
            line |= _gaps(site_sums(student, networks["teacher"]) | at_places)
        line["start_share"] = start_share(job.run.ema, job.state.step, job.steps)
    line["protocol"] = (
        f"health-v1 (eval mode, {job.run.train.precision}, {len(student)} augmented views of the recipe at epoch 0, "
        f"{images} training images, h not centred)"
    )
    return line


def start_share(ema: Ema, step: int, steps: int) -> float:
    """The weight that the teacher's first weights still have in it after `step` of `steps` steps, in [0, 1].

    Each step multiplies it by the momentum of that step, so it is the product of all momenta so far. Skipped steps,
    which leave the teacher where it is, are counted like the others: with them the true share is higher. Where only
    what follows the backbone is averaged, the teacher's representation is the student's, and the share is 0.
    """
    if ema.part == "projector":
        return 0.0
    share = 1.0
    for done in range(step):
        share *= momentum(ema, done, steps)
        if share == 0.0:
            break
    return share


Said = tuple[dict[Network, list[Encoding]], dict[str, GapSums]]
"""What each network says of each view: an encoding of all images per view, float32, on the CPU, without maps. And what
these would say of the gap place by place: of them only sums are kept, since all maps together would be gigabytes."""


def _encoded(job: Job, most: int) -> Said:
    networks = networks_of(job.state.method)
    if "teacher" in networks and twins(networks["teacher"], networks["student"]):
        found, at_places = _said(job, {"student": networks["student"]}, most)
        said = found["student"]
        return {"student": said, "teacher": [Encoding(e.h, e.z) for e in said]}, at_places  # it does not predict
    return _said(job, networks, most)


def _said(job: Job, networks: dict[Network, nn.Module], most: int) -> Said:
    said: dict[Network, list[list[Encoding]]] = {name: [] for name in networks}
    at_places: dict[str, GapSums] = {}
    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(frozen(network))
        source = thinned(job.data.train, most)
        # Made outside of autocast, which would round the pixels.
        for made in leading_batches(source, job.run, job.device, CHUNK):
            with autocast(job.device, job.run.train.precision):
                now: dict[Network, list[Encoding]] = {
                    name: [network(view) for view in made] for name, network in networks.items()
                }
            for name, parts in now.items():
                said[name].append([_plain(part) for part in parts])
            for site, sums in place_sums(now["student"], now.get("teacher", now["student"])).items():
                at_places[site] = at_places[site].plus(sums) if site in at_places else sums
    return {name: _joined(parts) for name, parts in said.items()}, at_places


def _plain(said: Encoding) -> Encoding:
    # Without logits: of 65,536 prototypes they would take half a gigabyte here, and z says the same.
    return Encoding(said.h.float().cpu(), said.z.float().cpu(), None if said.p is None else said.p.float().cpu())


def _joined(parts: list[list[Encoding]]) -> list[Encoding]:
    """Parts of the images, each an encoding per view, as one encoding of all images per view."""
    joined = []
    for one_view in zip(*parts, strict=True):
        p = [part.p for part in one_view if part.p is not None]
        h, z = torch.cat([part.h for part in one_view]), torch.cat([part.z for part in one_view])
        joined.append(Encoding(h, z, torch.cat(p) if p else None))
    return joined


def _measures(h: list[Tensor]) -> dict[str, float]:
    """The measures of one network, from its representation of each view."""
    alone: dict[str, Callable[[Tensor], float]] = {
        "feature_sd": feature_sd,
        "rankme": rankme,
        "uniformity": uniformity,
    }
    found = {name: fmean(measure(view) for view in h) for name, measure in alone.items()}
    found |= {"alignment": alignment(h[0], h[1]), "retrieval": retrieval(h[0], h[1])}
    return {name: found[name] for name in ("feature_sd", "rankme", "alignment", "uniformity", "retrieval")}


def _gaps(sums: dict[str, GapSums]) -> dict[str, float]:
    """Intra, inter and chance gap at every site."""
    line: dict[str, float] = {}
    for site, parts in sums.items():
        found = parts.gap()
        line |= {f"gap/{site}/intra": found.intra.item(), f"gap/{site}/chance": found.chance.item()}
        if found.inter is not None:
            line[f"gap/{site}/inter"] = found.inter.item()
    return line
