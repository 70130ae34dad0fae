"""resmom doctor [RUN] [--out DIR] [--data DATA] [--threads N]"""

import dataclasses
import textwrap
from dataclasses import dataclass
from pathlib import Path

import tyro

from resmom.commands import parse, print_json
from resmom.runs.doctor.examine import examine, questions
from resmom.runs.doctor.finding import Finding
from resmom.runs.machine import Machine

ABOUT = (
    "Is this machine ready, and if something is wrong, what to do? Looks at versions, devices, cores, memory and the "
    "extra `fast`, and tries each; exit status 0 where there is no problem, 1 otherwise."
)

WIDTH = 120


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path | None] = None
    """A run folder, or a checkpoint of it: does it load, is it in use, would it resume exactly?"""
    out: Path | None = None
    """A folder where runs are to be written: is there room, can it be written to and locked?"""
    data: str = ""
    """Images, as for pretrain: do they open, and can some of them be read? Nothing is downloaded."""
    threads: int = 0
    """CPU threads, as other commands would be given them; 0 is torch's choice."""
    json: bool = False
    """Print the findings as JSON, with the facts they rest on."""


def main(arguments: list[str]) -> int:
    """Look; 0 without a problem, 1 with one."""
    a = parse(Arguments, arguments, "resmom doctor", ABOUT)
    found: list[Finding] = []
    facts = {}
    machine = Machine(threads=a.threads)
    for name, answer in examine(questions(a.run, a.out, a.data, machine.threads)):
        found += answer.findings
        facts[name] = answer.facts
        if not a.json:
            for finding in answer.findings:
                print(words(finding), flush=True)
    problems = sum(finding.state == "problem" for finding in found)
    if a.json:
        plain = [dataclasses.asdict(finding) for finding in found]
        print_json({"ready": problems == 0, "findings": plain, "facts": facts})
    else:
        notes = sum(finding.state == "note" for finding in found)
        told = f"{notes} note{'s' * (notes != 1)}"
        print(f"ready, {told}" if problems == 0 else f"{problems} problem{'s' * (problems != 1)}, {told}")
    return int(problems > 0)


def words(finding: Finding) -> str:
    """A finding as people read it: a line, and below it what to do."""
    head = f"{finding.state:<8} {finding.about:<13} "
    lines = _wrapped(head, finding.words)
    if finding.remedy:
        lines += _wrapped("-> ".rjust(len(head)), finding.remedy)
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    """The text in lines beside its head; paths and commands stay whole."""
    whole = textwrap.TextWrapper(WIDTH, head, " " * len(head), break_long_words=False, break_on_hyphens=False)
    return whole.wrap(text)
