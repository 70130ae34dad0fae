"""What is measured of student and teacher while a run goes on."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resmom import dist
from resmom.data.source import labels_read
from resmom.evaluate.features import features
from resmom.evaluate.knn import knn
from resmom.evaluate.online import OnlineClassifier, online_score
from resmom.evaluate.score import Score
from resmom.runs.clean import Split, clean_batches, labelled_split, thinned
from resmom.runs.device import beside
from resmom.runs.training.job import Job
from resmom.runs.training.start import put_start
from resmom.train.state import networks_of, restored, student_of
from resmom.train.step import autocast

SAID = 64
"""Images by which to tell whether a network can be measured at all."""


def monitor(job: Job) -> list[dict[str, Any]]:
    """kNN of student and teacher and the online classifier on clean images, one line each; nothing without labels.

    Writes nothing into the networks. Only the first process of a group measures.
    """
    split = labelled_split(job.data)
    if split is None or dist.rank() != 0:
        return []
    knn_line: dict[str, Any] = {"kind": "knn"}
    lines = [knn_line]
    for name, network in networks_of(job.state.method).items():
        result, asked = _knn(job, split, network)
        knn_line |= {name: result.top1, f"{name}_top5": result.top5, "protocol": f"{result.protocol}, {split.origin}"}
        if name == "student" and isinstance(job.state.online, OnlineClassifier):
            query_labels = torch.from_numpy(labels_read(split.test))
            online = online_score(job.state.online, asked.to(job.device), query_labels.to(job.device))
            lines.append(
                {
                    "kind": "online",
                    "student": online.top1,
                    "student_top5": online.top5,
                    "protocol": f"{online.protocol}, {split.origin}",
                }
            )
    return lines


def monitor_start(job: Job, start: Path) -> list[dict[str, Any]]:
    """The same kNN of the backbone whose weights `start` holds, which all networks had before the first step.

    Measured when the first measurement falls due rather than before the first step: on a CPU it can take minutes, in
    which nobody learns whether the run works at all.
    """
    split = labelled_split(job.data)
    if split is None or dist.rank() != 0:
        return []
    network = student_of(job.state.method)
    with restored(job.state.method):
        if not put_start(start, network):
            return []
        result, _ = _knn(job, split, network)
    line: dict[str, Any] = {"kind": "knn"}
    for name in networks_of(job.state.method):
        line |= {name: result.top1, f"{name}_top5": result.top5}
    return [line | {"protocol": f"{result.protocol}, {split.origin}"}]


def says_numbers(job: Job) -> bool:
    """Whether all networks still say finite numbers of some training images."""
    bank, policy = thinned(job.data.train, SAID), job.run.policy
    with autocast(job.device, job.run.train.precision):
        said = [
            features(net, clean_batches(bank, policy, job.device)) for net in networks_of(job.state.method).values()
        ]
    return all(bool(h.isfinite().all()) for h in said)


def _knn(job: Job, split: Split, network: nn.Module) -> tuple[Score, Tensor]:
    """The network's score, and its features of the test images."""
    bank, policy = thinned(split.train, job.run.log.knn_images), job.run.policy
    with autocast(job.device, job.run.train.precision):
        known = features(network, clean_batches(bank, policy, job.device))
        asked = features(network, clean_batches(split.test, policy, job.device))
    labels = torch.from_numpy(labels_read(bank)), torch.from_numpy(labels_read(split.test))
    known, names, queries, wanted = beside(job.device, known, labels[0], asked, labels[1])
    return knn(known, names, queries, wanted, job.run.knn), asked
