"""Thirty simulated days at a steady state: does anything grow that should not?

A program, no test of pytest. It serves a vault on a clock file and lives hour by hour: uploads, withdrawals, erasures,
shreds, a job with a snapshot every day, expiry. After as many days as records live, as many come as go; then it goes on
for the same time and measures memory, handles, threads and the disk. It ends with 1 when one of them is more than it
may be, and at once when something was released or kept that should not be, or the other way round.

Consents stay two years longer than records. `--past-days` lets days go before in which consents alone are registered:
770 of them make the ledger steady too.

`run.sh` makes what it needs to run, and runs it for three days. For thirty, in some 15 minutes and 2 GB of disk:

    PYTHONPATH=target/blackbox-gen target/blackbox-venv/bin/python tests/blackbox/steady.py \\
        --past-days 770 --svg docs/steady.svg
"""

import argparse
import hashlib
import random
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from idvault.v1 import consent_service_pb2 as consents_api
from idvault.v1 import resources_pb2 as api
from idvault.v1 import retention_service_pb2 as retention_api
from idvault.v1 import training_service_pb2 as training_api

from figures import Sample, figures, plot
from images import plain_jpeg
from provider import Provider
from receipts import EVERYTHING, grant
from server import OPERATOR, Vault, eventually
from specimens import File, Specimen
from training import Epoch, activate, make_spec, take_snapshot

GONE = training_api.FetchRecordsResponse.TOMBSTONE_GONE
IMAGE_BYTES = (60_000, 400_000)
# Of all uploads, those that are followed by one of these, for a record picked among all that are alive.
WITHDRAWN, WITHDRAWN_FOR_JOBS, ERASED, SHREDDED = 0.03, 0.01, 0.01, 0.01
CALLERS = 8
PURPOSES = ("TRAIN_DOCUMENT_OCR", "EVALUATE_BIAS")
GRANTS = [grant(purpose, EVERYTHING) for purpose in PURPOSES]
JOB_DAYS = 7
# A day's job reads one of so many shares of its snapshot, twelve hours after it was taken.
SHARES = 8
FETCH_HOUR = 12

# Whose size on disk is measured, below the data directory.
FOLDERS = {
    "volumes": "volumes",
    "index": "ledger/index",
    "journal": "ledger/journal",
    "dump": "ledger/dump",
    "keyring": "keyring",
}

# What a frame has before its payload, and what it begins on (docs/format.md).
FRAME_HEADER, BLOCK = 64, 4096
SEALED_CHUNK, SEALED_HEAD, TAG = 16_384, 56, 16


@dataclass(eq=False)
class Check:
    """A check that was uploaded, and what has become of it."""

    provider: Provider
    subject: str
    record: api.Record
    expires: datetime
    kept: bool = True
    for_jobs: bool = True

    @property
    def disk_bytes(self):
        """What its parts take in their volume, until the hour is over."""
        return sum(_frame_bytes(part.size_bytes) for part in self.record.parts)


def _frame_bytes(size):
    sealed = SEALED_HEAD + size + TAG * (size // SEALED_CHUNK + 1)
    return -(-(FRAME_HEADER + sealed) // BLOCK) * BLOCK


class Life:
    """A vault, its providers and its jobs, and what should be alive in it."""

    def __init__(self, vault, days, per_hour, seed):
        self.vault = vault
        self.random = random.Random(seed)
        self.per_hour = per_hour
        self.retention = [max(1, days // part) for part in (1, 2, 4)]
        self.providers = [self._provider(days) for days in self.retention]
        self.checks = []  # whose hour is not over
        self.by_image = {}
        self.uploads = self.fetched = self.tombstones = 0
        self.taken_back = dict.fromkeys(("withdrawn", "withdrawn for jobs", "erased", "shredded"), 0)
        self.snapshot, self.listed = None, set()
        self._head = plain_jpeg().removesuffix(b"\xff\xd9")

    def _provider(self, days):
        provider = Provider(self.vault, api.METADATA_POLICY_STRIP)
        provider.update(OPERATOR, retention_days=days)
        return provider

    def live_past_day(self):
        """Moves the clock by a day and registers as many consents as uploads bring."""
        self.vault.clock.advance(days=1)
        eventually(self._is_settled)
        for provider in self.providers:
            assert provider.caller  # a connection of its own, made before there are threads
        with ThreadPoolExecutor(CALLERS) as pool:
            list(pool.map(self._register, range(24 * self.per_hour)))

    def _register(self, number):
        provider = self.providers[number % len(self.providers)]
        someone = Specimen(f"person-{uuid.uuid4()}", "SG", (), api.Attributes())
        receipt = provider.receipt(someone, GRANTS)
        request = consents_api.RegisterConsentRequest(parent=provider.name, receipt=receipt)
        provider.caller.consents.RegisterConsent(request)

    def live_hour(self, hour):
        """Moves the clock by an hour and does what is done in it."""
        self.vault.clock.advance(hours=1)
        self.checks = [check for check in self.checks if check.expires > self.vault.clock.now]
        eventually(self._is_settled)
        for _ in range(self.per_hour):
            self._upload()
        for _ in range(self.per_hour):
            self._take_back()
        if hour % 24 == 0:
            self._take_snapshot()
        if hour % 24 == FETCH_HOUR:
            self._fetch(share=hour // 24 % SHARES)

    def _is_settled(self):
        """Whether what is due is gone: keys, rows and volumes."""
        status, now = self.status(), self.vault.clock.now
        due = any(hour.expire_time.ToDatetime(UTC) <= now for hour in status.hours)
        hour = int(now.timestamp()) // 3600
        folders = (int(folder.name) for folder in (self.vault.data / "volumes").iterdir())
        return not due and status.backlog_record_count == 0 and all(folder > hour for folder in folders)

    def status(self):
        request = retention_api.GetRetentionStatusRequest(parent="tenants/-")
        return self.vault.caller(OPERATOR).retention.GetRetentionStatus(request)

    # What providers do

    def _upload(self):
        provider = self.providers[self.uploads % len(self.providers)]
        # Two checks for each person.
        subject = f"person-{self.uploads // (2 * len(self.providers))}"
        image = self._image()
        attributes = api.Attributes(surname="EXAMPLE", id_number=f"X{self.uploads:07}", country="SGP", sex="X")
        specimen = Specimen(subject, "SG", (File(api.CATEGORY_FACE_IMAGE, "image/jpeg", image),), attributes)
        record = provider.upload(specimen, GRANTS)
        check = Check(provider, subject, record, record.expire_time.ToDatetime(UTC))
        self.checks.append(check)
        self.by_image[hashlib.sha256(image).digest()] = check
        self.uploads += 1

    def _image(self):
        """A JPEG whose coded pixels are noise: they have no marker in them, and nothing in it is metadata."""
        noise = self.random.randbytes(self.random.randint(*IMAGE_BYTES)).replace(b"\xff", b"\x7f")
        return self._head + noise + b"\xff\xd9"

    def _take_back(self):
        chance = self.random.random()
        check = self.random.choice(self._kept())
        for share, what, take in (
            (WITHDRAWN, "withdrawn", self._withdraw),
            (WITHDRAWN_FOR_JOBS, "withdrawn for jobs", self._withdraw_for_jobs),
            (ERASED, "erased", self._erase),
            (SHREDDED, "shredded", self._shred),
        ):
            if chance < share:
                self.taken_back[what] += 1
                return take(check)
            chance -= share

    def _kept(self):
        return [check for check in self.checks if check.kept]

    def _withdraw(self, check):
        check.kept = False
        assert check.provider.withdraw(check.record).destruction.record_count == 1

    def _withdraw_for_jobs(self, check):
        purpose = api.Purpose.Value(f"PURPOSE_{PURPOSES[0]}")
        assert check.provider.withdraw(check.record, [purpose]).destruction.record_count == 0
        check.for_jobs = False

    def _erase(self, check):
        request = consents_api.EraseSubjectRequest(parent=check.provider.name, subject_ref=check.subject)
        theirs = [c for c in self._kept() if (c.provider, c.subject) == (check.provider, check.subject)]
        destruction = check.provider.caller.consents.EraseSubject(request).destruction
        assert destruction.record_count == len(theirs)
        for check in theirs:
            check.kept = False

    def _shred(self, check):
        check.kept = False
        assert check.provider.shred(check.record).record_count == 1

    # What jobs do

    def _released(self):
        """What the rules release to a job."""
        return {check for check in self.checks if check.kept and check.for_jobs}

    def _take_snapshot(self):
        spec = make_spec(self.providers[0], PURPOSES[0])
        spec.tenants[:] = [provider.name for provider in self.providers]
        spec.max_records = 1_000_000
        spec.expire_time.FromDatetime(self.vault.clock.now + timedelta(days=JOB_DAYS))
        self.snapshot = take_snapshot(self.vault, activate(self.vault, spec))
        self.listed = self._released()
        assert self.snapshot.position_count == len(self.listed)

    def _fetch(self, share):
        """Reads a share of the day's snapshot: what comes is alive and consented to now, and what does not is gone."""
        epoch = Epoch(self.vault, self.snapshot, epoch=share, rank=share, world_size=SHARES).read_all()
        released, tombstones = self._released(), 0
        for position in epoch.positions.values():
            if position.tombstone:
                assert position.tombstone == GONE
                tombstones += 1
                continue
            image = position.file(api.CATEGORY_FACE_IMAGE)
            check = self.by_image[hashlib.sha256(image).digest()]
            assert check in released and check in self.listed, "released although it was gone"
            assert position.attributes.country == "SGP"
            self.fetched += 1
        assert tombstones <= len(self.listed - released), "withheld although it was alive"
        self.tombstones += tombstones

    # What is seen from outside

    def sample(self, day):
        status, vault = self.status(), self.vault
        assert status.live_record_count == len(self._kept())
        return Sample(
            day=day,
            uploads=self.uploads,
            live_records=status.live_record_count,
            live_bytes=sum(hour.sealed_bytes for hour in status.hours),
            dead_frames=sum(check.disk_bytes for check in self.checks if not check.kept),
            resident=vault.memory("VmRSS"),
            anonymous=vault.memory("RssAnon"),
            handles=vault.handles(),
            threads=vault.threads(),
            **{name: self._disk(folder) for name, folder in FOLDERS.items()},
        )

    def _disk(self, folder):
        """Bytes that a folder takes on disk, its files and folders."""
        blocks = 0
        for path in (self.vault.data / folder).rglob("*"):
            try:
                blocks += path.stat().st_blocks
            except FileNotFoundError:  # it went meanwhile
                pass
        return blocks * 512


def live(arguments):
    """A whole life: what was seen in it, hour by hour, and how it ended."""
    samples, hours = [], arguments.days * 24
    with (
        tempfile.TemporaryDirectory(prefix="idvault-steady-", dir=arguments.dir) as home,
        Vault(Path(home), tls=False) as vault,
    ):
        life = Life(vault, arguments.days, arguments.per_hour, arguments.seed)
        for _ in range(arguments.past_days):
            life.live_past_day()
        for hour in range(-hours, hours):
            life.live_hour(hour)
            samples.append(life.sample(hour / 24))
    return samples, life


def report(table, days, life):
    print(f"| | first {days / 6:g} days | last {days / 6:g} days | limit |\n|---|---|---|---|")
    for figure in table:
        print(figure.row())
    taken_back = ", ".join(f"{count:,} {what}" for what, count in life.taken_back.items())
    print(f"\n{life.uploads:,} uploads: {taken_back}")
    print(f"{life.fetched:,} records fetched, {life.tombstones:,} gone before they were")


def main():
    parser = argparse.ArgumentParser(
        description="Looks for what grows in a vault that destroys as much as it takes in."
    )
    parser.add_argument("--days", type=int, default=30, help="how long records live and are measured (default 30)")
    parser.add_argument("--per-hour", type=int, default=4, help="uploads in an hour (default 4)")
    parser.add_argument("--past-days", type=int, default=0, help="days before, with nothing but consents (default 0)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance (default 1)")
    parser.add_argument("--dir", help="where the vault is meanwhile (default: the folder for temporary files)")
    parser.add_argument("--svg", type=Path, help="a file for the plot")
    arguments = parser.parse_args()
    samples, life = live(arguments)
    if arguments.svg:
        arguments.svg.write_text(plot(samples))
    table = figures([sample for sample in samples if sample.day >= 0])
    report(table, arguments.days, life)
    return 0 if all(figure.holds() for figure in table) else 1


if __name__ == "__main__":
    sys.exit(main())
