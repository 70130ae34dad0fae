"""`resmom evaluate RUN --all`: measure every network that a run kept, layer by layer, and choose one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resmom.build import Own
from resmom.called import called
from resmom.data.labelwords import labels_lines
from resmom.data.source import Data, Source, labels_read
from resmom.data.split import holdout
from resmom.diagnose.rules import too_short
from resmom.errors import UserError
from resmom.evaluate.knn import knn
from resmom.evaluate.layers import LayerFeatures, layer_features
from resmom.evaluate.linear import choose_linear, linear_probe
from resmom.evaluate.score import NotMeasured, Score
from resmom.evaluate.settings import Linear
from resmom.evaluate.standard import all_finite
from resmom.export import record
from resmom.export.choice import neither
from resmom.export.keep import DEFAULT, Entry, LeftOut, Picked, content, pick, sentence
from resmom.jsonfiles import append_or_say, read_lines, write_or_say
from resmom.nets.norms import normed
from resmom.ondisk import require_writable
from resmom.rundir import find_run
from resmom.runs.clean import Split, clean_batches
from resmom.runs.environment import environment
from resmom.runs.loaded import Loaded, load_run
from resmom.runs.measuring.evaluate import labelled, name_and_fingerprint
from resmom.runs.measuring.labels import lent_share, with_labels
from resmom.runs.measuring.rows import Row
from resmom.which import Network, Which

DIVERGED = "a linear probe that diverges at every learning rate"
"""Why features are no candidate."""


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
    left_out: tuple[LeftOut, ...] = ()
    """What was no candidate, for features that are not finite."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """What `file` says, or should say."""
    written: bool = True
    """Whether that and the row are on the disk; what could not be written, standard error has had."""

    @property
    def sentence(self) -> str:
        return sentence(self.picked, self.row.score.top1, self.row.data, self.refused, self.short, self.left_out)

    def __str__(self) -> str:
        return self.sentence


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
    by, and a row of RUN/evaluations.jsonl; what a full disk does not take is said on standard error, and the result
    tells it. Features that are not finite, or of which every learning rate of the probe diverges, are left out and
    named. Raises UserError where `evaluate` would, and if none
    are left.
    """
    folder, given = find_run(path)
    require_writable(folder.evaluations)
    config = linear or Linear()
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    opened, split, part = None, None, None
    try:
        for loaded in _checkpoints(path, given, device, own):
            if split is None:
                opened = loaded.opened(data)
                split = whole = labelled(loaded, opened)[0]
                if labels:
                    split, drawn = with_labels(whole, labels, seed)
                    part = lent_share(whole, labels, drawn[0])
            for name, net in loaded.networks(network).items():
                found, without = _entries(loaded, name, net, split, config)
                entries += found
                left_out += without
        assert opened is not None and split is not None and split.train.labels is not None
        if not entries:
            raise UserError(_nothing_left(path, left_out))
        held = len(holdout(split.train.labels, config.held_out, config.seed)[1])
        picked = pick(entries, held)
        chosen = load_run(_file(folder.last, given, picked), device, own)
        row = _tested(chosen, picked, split, config, len(entries), name_and_fingerprint(opened))
        row = replace(row, label_share=part)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be evaluated: {error}") from error
    machine = environment()
    kept = append_or_say(folder.evaluations, {**row.plain(), "environment": machine})
    row = replace(row, kept=kept, labels=tuple(labels_lines(opened)))
    where = normed(chosen.method.student.state_dict())
    refused, short = _refused(chosen, picked.entry.network), too_short(chosen.step, where.backbone)
    told = content(picked, entries, held, row.plain(), machine, refused, short, left_out)
    written = write_or_say(folder.choice, told) and row.kept
    return Kept(tuple(entries), picked, held, row, folder.choice, refused, short, tuple(left_out), told, written)


def _nothing_left(path: Path, left_out: Sequence[LeftOut]) -> str:
    blown = "; ".join(each.words for each in left_out if each.why == DIVERGED)
    ill = "; ".join(each.words for each in left_out if each.why != DIVERGED)
    told = [f"features are not finite of {ill}"] if ill else []
    told += [f"at every learning rate a linear probe diverges on {blown}"] if blown else []
    ways = (
        f"Give the probe lower rates: {called('linear.lrs')}"
        if blown
        else f"Choose within a run that has not diverged, or train this one again with a lower {called('optim.lr')}"
    )
    return f"{path} has nothing to choose from: {', and '.join(told)}. {ways}"


def _refused(loaded: Loaded, taken: Network) -> str:
    """Why no network of this checkpoint should be used, by what was measured up to its step; empty where it may be."""
    lines = [line for line in read_lines(loaded.folder.metrics) if line["step"] <= loaded.step]
    # That it is too short stands beside the sentence, not in its place.
    refused = neither(replace(record.evidence(lines, loaded.steps, loaded.step), short=""), taken)
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
) -> tuple[list[Entry], list[LeftOut]]:
    """A network's candidates, and what is none of them: features that are not finite or that no probe learns from, or
    all where `h` is among them.

    A checkpoint of a run that has diverged must not end the search for an earlier one, nor a layer that for others.
    """
    features = _features(loaded, network, split.train)
    known = torch.from_numpy(labels_read(split.train))
    fit, held = holdout(known.numpy(), config.held_out, config.seed)
    entries, left_out = [], []
    for kind in features.kinds:
        x = features[kind]
        if not all_finite(x, known):
            left_out.append(LeftOut(name, loaded.step, kind))
            continue
        try:
            choice = choose_linear(x, known, config)
        except NotMeasured:
            left_out.append(LeftOut(name, loaded.step, kind, DIVERGED))
            continue
        near = knn(x[fit], known[fit], x[held], known[held], loaded.run.knn)
        setting = (choice.accuracy, choice.loss, choice.lr, choice.weight_decay)
        entries.append(Entry(name, loaded.step, kind, near.top1, *setting))
    if usual := [e for e in left_out if e.features == DEFAULT]:
        return [], [replace(usual[0], features="")]
    return entries, left_out


def _tested(
    loaded: Loaded, picked: Picked, split: Split, config: Linear, candidates: int, named: tuple[str, str]
) -> Row:
    entry = picked.entry
    network = loaded.networks(entry.network)[entry.network]
    train, test = (_features(loaded, network, part)[entry.features] for part in (split.train, split.test))
    known, asked = (torch.from_numpy(labels_read(part)) for part in (split.train, split.test))
    score = linear_probe(train, known, test, asked, config).score
    protocol = (
        f"keep-v2 ({entry.features}; chosen among {candidates} candidates; then {score.protocol}); {split.origin}"
    )
    return Row(entry.network, Score(score.top1, score.top5, protocol), entry.step, *named)


def _features(loaded: Loaded, network: nn.Module, source: Source) -> LayerFeatures:
    return layer_features(network, clean_batches(source, loaded.run.policy, loaded.device))
