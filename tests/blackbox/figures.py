"""What was seen of a vault at a steady state: the figures, what they may be, and the picture."""

from dataclasses import dataclass
from statistics import median

from plot import Panel, draw

KIB, MIB = 1 << 10, 1 << 20
# More memory than that is not explained by the index, its cache and what came since a checkpoint, and one upload at a time.
MEMORY_MIB = 256
# 256 volumes (docs/operations.md), and what else a server with few callers has open.
HANDLES = 256 + 32
# What stays of an upload for two years takes less. While tables are merged they are there twice.
ROWS_KIB, INDEX_FOLD, SEGMENTS_MIB = 4, 2, 8
# The picture has no more points than this.
POINTS = 360


@dataclass(frozen=True)
class Sample:
    """What was seen at the end of a simulated hour."""

    day: float
    uploads: int
    live_records: int
    live_bytes: int
    dead_frames: int
    resident: int
    anonymous: int
    handles: int
    threads: int
    volumes: int
    index: int
    journal: int
    dump: int
    keyring: int


@dataclass(frozen=True)
class Figure:
    """What a value was in the first and the last sixth of the time measured, and how much it may be in the last."""

    what: str
    first: float
    last: float
    most: float | None

    def holds(self):
        return self.most is None or self.last <= self.most

    def row(self):
        digits = 0 if max(self.first, self.last) >= 10 else 2
        numbers = ("" if number is None else f"{number:,.{digits}f}" for number in (self.first, self.last, self.most))
        return f"| {self.what} | {' | '.join(numbers)}{'' if self.holds() else ', exceeded'} |"


def figures(samples):
    sixth = len(samples) // 6
    first, last = samples[:sixth], samples[-sixth:]
    uploads = last[-1].uploads - first[0].uploads

    def figure(what, of, value, most=lambda _: None):
        before, after = (of(value(sample) for sample in end) for end in (first, last))
        return Figure(what, before, after, most(before))

    def mib(name):
        return lambda sample: getattr(sample, name) / MIB

    def memory(first):
        return min(1.15 * first + 16, MEMORY_MIB)

    def dump(first):
        return first + uploads * ROWS_KIB / KIB

    def index(_):
        return INDEX_FOLD * median(mib("dump")(sample) for sample in last) + SEGMENTS_MIB

    return [
        figure("records alive, median", median, lambda s: s.live_records),
        figure("their sealed bytes, median, MiB", median, mib("live_bytes")),
        figure("resident memory, median, MiB", median, mib("resident"), memory),
        figure("open files and sockets, at most", max, lambda s: s.handles, lambda _: HANDLES),
        figure("threads, at most", max, lambda s: s.threads, lambda first: first + 8),
        figure("volumes, median, MiB", median, mib("volumes")),
        figure("taken back, in volumes until their hour, median, MiB", median, mib("dead_frames")),
        figure("the rest of the volumes, a live sealed byte, at most", max, _overhead, lambda _: 1.10),
        figure("keyring, at most, MiB", max, mib("keyring"), lambda first: 1.15 * first + 0.25),
        figure("journal, at most, MiB", max, mib("journal"), lambda _: 64),
        figure("dump, at most, MiB", max, mib("dump"), dump),
        figure("index, at most, MiB", max, mib("index"), index),
    ]


def _overhead(sample):
    return (sample.volumes - sample.dead_frames) / sample.live_bytes


def plot(samples):
    """The picture: of each span of samples the highest."""
    span = -(-len(samples) // POINTS)
    spans = [samples[at : at + span] for at in range(0, len(samples), span)]

    def highest(name, unit=1):
        return [max(getattr(sample, name) for sample in samples) / unit for samples in spans]

    panels = [
        Panel("Records alive", "", {"": highest("live_records")}),
        Panel("Memory", "MiB", {"resident": highest("resident", MIB), "of no file": highest("anonymous", MIB)}),
        Panel("Handles", "", {"open files and sockets": highest("handles"), "threads": highest("threads")}),
        Panel("Volumes", "MiB", {"on disk": highest("volumes", MIB), "sealed bytes alive": highest("live_bytes", MIB)}),
        Panel("Ledger", "MiB", {name: highest(name, MIB) for name in ("index", "dump", "journal")}),
        Panel("Keyring", "MiB", {"": highest("keyring", MIB)}),
    ]
    return draw([samples[0].day for samples in spans], panels, "simulated days; the vault fills until day 0")
