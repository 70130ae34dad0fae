"""`resmom evaluate RUN --all`: measure every network that a run kept, layer by layer, and choose one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from resmom.build import Own
from resmom.data.source import Data, Source
from resmom.data.split import holdout
from resmom.diagnose.rules import findings, too_short
from resmom.errors import UserError
from resmom.evaluate.knn import knn
from resmom.evaluate.layers import LayerFeatures, layer_features
from resmom.evaluate.linear import Linear, choose_linear, linear_probe
from resmom.evaluate.score import Score
from resmom.export.choice import refusal
from resmom.export.keep import Entry, Picked, content, pick, sentence
from resmom.rundir import append_line, find_run, read_lines, write_json
from resmom.runs.clean import Split, clean_batches
from resmom.runs.environment import environment
from resmom.runs.evaluate import Row, labelled, name_and_fingerprint, opened_data
from resmom.runs.labels import with_labels
from resmom.runs.loaded import Loaded, load_run
from resmom.which import Network, Which


@dataclass(frozen=True)
class Kept:
    """All candidates, the one to keep with its reason, and its test score."""

    entries: tuple[Entry, ...]
    picked: Picked
    held: int
    row: Row
    file: Path
    refused: str = ""
    """Why not even the one to keep should be used, if so."""
    short: str = ""
    """That it was trained for too few steps to tell, if so."""

    @property
    def sentence(self) -> str:
        return sentence(self.picked, self.row.score.top1, self.row.data, self.refused, self.short)


def keep(
    path: Path,
    data: str | Data | None = None,
    network: Which = "both",
    linear: Linear | None = None,
    device: str = "auto",
    own: Own | None = None,
    labels: str = "",
    seed: int = 0,
) -> Kept:
    """Choose among networks, kept checkpoints and layers on held-out training images; test the chosen one alone.

    `path`: a run folder, or one checkpoint of it to choose within. Writes RUN/choice.json, which `resmom export` goes
    by, and a row of RUN/evaluations.jsonl. Raises UserError where `evaluate` would.
    """
    folder, given = find_run(path)
    config = linear or Linear()
    entries: list[Entry] = []
    held, opened, split = 0, None, None
    try:
        for loaded in _checkpoints(path, given, device, own):
            if split is None:
                opened = opened_data(loaded, data)
                split = labelled(loaded, opened)[0]
                split = with_labels(split, labels, seed)[0] if labels else split
            for name, net in loaded.networks(network).items():
                found, held = _entries(loaded, name, net, split, config)
                entries += found
        assert opened is not None and split is not None
        picked = pick(entries, held)
        chosen = load_run(_file(folder.last, given, picked), device, own)
        row = _tested(chosen, picked, split, config, len(entries), name_and_fingerprint(opened))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be evaluated: {error}") from error
    machine = environment()
    append_line(folder.evaluations, {**row.plain(), "environment": machine})
    refused, short = _refused(chosen), too_short(chosen.step)
    write_json(folder.choice, content(picked, entries, held, row.plain(), machine, refused, short))
    return Kept(tuple(entries), picked, held, row, folder.choice, refused, short)


def _refused(loaded: Loaded) -> str:
    """Why no network of this checkpoint should be used, by what was measured up to its step; empty where it may be."""
    lines = [line for line in read_lines(loaded.folder.metrics) if line["step"] <= loaded.step]
    refused = refusal(findings(lines, loaded.steps))
    return "" if refused is None else refused.evidence


def _checkpoints(path: Path, given: Path, device: str, own: Own | None) -> Iterator[Loaded]:
    """Every kept checkpoint once, oldest first, then the last; or the one file that was named."""
    if path.resolve() == given.resolve():
        yield load_run(given, device, own)
        return
    folder = find_run(path)[0]
    last = load_run(folder.last, device, own)
    for kept in folder.all_kept():
        if kept != folder.kept(last.step):
            yield load_run(kept, device, own)
    yield last


def _file(last: Path, given: Path, picked: Picked) -> Path:
    """Where the picked network lies."""
    kept = last.parent / f"step-{picked.entry.step:08d}.pt"
    return kept if given == last and kept.exists() else given


def _entries(
    loaded: Loaded, name: Network, network: nn.Module, split: Split, config: Linear
) -> tuple[list[Entry], int]:
    """A network's candidates, and the number of images that they were judged on."""
    known = torch.from_numpy(split.train.labels)
    features = _features(loaded, network, split.train)
    fit, held = holdout(known.numpy(), config.held_out, config.seed)
    entries = []
    for kind in features.kinds:
        x = features[kind]
        choice = choose_linear(x, known, config)
        near = knn(x[fit], known[fit], x[held], known[held], loaded.run.knn)
        setting = (choice.accuracy, choice.loss, choice.lr, choice.weight_decay)
        entries.append(Entry(name, loaded.step, kind, near.top1, *setting))
    return entries, len(held)


def _tested(
    loaded: Loaded, picked: Picked, split: Split, config: Linear, candidates: int, named: tuple[str, str]
) -> Row:
    entry = picked.entry
    network = loaded.networks(entry.network)[entry.network]
    train, test = (_features(loaded, network, part)[entry.features] for part in (split.train, split.test))
    known, asked = torch.from_numpy(split.train.labels), torch.from_numpy(split.test.labels)
    score = linear_probe(train, known, test, asked, config).score
    protocol = (
        f"keep-v2 ({entry.features}; chosen among {candidates} candidates; then {score.protocol}); {split.origin}"
    )
    return Row(entry.network, Score(score.top1, score.top5, protocol), entry.step, *named)


def _features(loaded: Loaded, network: nn.Module, source: Source) -> LayerFeatures:
    return layer_features(network, clean_batches(source, loaded.run.policy, loaded.device))
