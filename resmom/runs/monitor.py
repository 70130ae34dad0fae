"""What is measured of student and teacher while a run goes on."""

from typing import Any

import torch
from torch import nn

from resmom import dist
from resmom.evaluate.features import features
from resmom.evaluate.knn import knn
from resmom.evaluate.online import OnlineClassifier, online_score
from resmom.runs.job import Job, clean_batches, labelled_split, thinned
from resmom.train.state import student_of
from resmom.train.step import autocast


def monitor(job: Job) -> list[dict[str, Any]]:
    """kNN of both networks and the online classifier on clean images, one line each; nothing without labels.

    Writes nothing into the networks. Only the first process of a group measures.
    """
    split = labelled_split(job.data)
    if split is None or dist.rank() != 0:
        return []
    bank, policy = thinned(split.train, job.run.log.knn_images), job.run.policy
    bank_labels, query_labels = torch.from_numpy(bank.labels), torch.from_numpy(split.test.labels)
    knn_line: dict[str, Any] = {"kind": "knn"}
    lines = [knn_line]
    networks: dict[str, nn.Module] = {"student": student_of(job.state.method), "teacher": job.state.method.teacher}
    for name, network in networks.items():
        with autocast(job.device, job.run.train.precision):
            known = features(network, clean_batches(bank, policy, job.device))
            asked = features(network, clean_batches(split.test, policy, job.device))
        result = knn(known, bank_labels, asked, query_labels, job.run.knn)
        knn_line |= {name: result.top1, f"{name}_top5": result.top5, "protocol": f"{result.protocol}, {split.origin}"}
        if name == "student" and isinstance(job.state.online, OnlineClassifier):
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
