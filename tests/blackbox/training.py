"""A training team: jobs, their approvals, snapshots and epochs."""

import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from idvault.v1 import resources_pb2 as api
from idvault.v1 import training_service_pb2 as training_api

from receipts import EVERYTHING, LEGAL_ENTITY, REGION
from server import MODEL_OWNER, PRIVACY_OFFICER, REQUESTER, WORKLOAD, spiffe_id

JURISDICTIONS = ("HK", "JP", "MY", "SG", "TH", "TW")


def make_spec(provider, purpose="TRAIN_DOCUMENT_OCR", categories=EVERYTHING, jurisdictions=JURISDICTIONS):
    spec = api.TrainingJobSpec(
        purpose=f"PURPOSE_{purpose}",
        categories=[f"CATEGORY_{category}" for category in categories],
        tenants=[provider.name],
        jurisdictions=jurisdictions,
        workloads=[spiffe_id(WORKLOAD)],
        max_records=1_000,
        max_bytes=1 << 32,
        legal_entity=LEGAL_ENTITY,
        region=REGION,
        model_family="document-reader",
        assessment_ref="assessment-7",
    )
    spec.expire_time.FromDatetime(provider.vault.clock.now + timedelta(days=30))
    return spec


def draft(vault, spec):
    request = training_api.CreateTrainingJobRequest(request_id=str(uuid.uuid4()), spec=spec)
    return vault.caller(REQUESTER).training.CreateTrainingJob(request).training_job


def submit(vault, job, person=REQUESTER):
    request = training_api.SubmitTrainingJobRequest(name=job.name)
    return vault.caller(person).training.SubmitTrainingJob(request).training_job


def approve(vault, job, person, role, spec_sha256=None):
    request = training_api.ApproveTrainingJobRequest(
        name=job.name, spec_sha256=spec_sha256 or job.spec_sha256, role=f"APPROVER_ROLE_{role}"
    )
    return vault.caller(person).training.ApproveTrainingJob(request).training_job


def activate(vault, spec):
    """A job with its two approvals."""
    job = submit(vault, draft(vault, spec))
    approve(vault, job, PRIVACY_OFFICER, "PRIVACY_OFFICER")
    return approve(vault, job, MODEL_OWNER, "MODEL_OWNER")


def take_snapshot(vault, job, workload=WORKLOAD):
    request = training_api.CreateSnapshotRequest(parent=job.name, request_id=str(uuid.uuid4()))
    return vault.caller(workload).training.CreateSnapshot(request).snapshot


def snapshot_of(provider, **spec):
    """A snapshot for an approved job that asks for `spec`."""
    return take_snapshot(provider.vault, activate(provider.vault, make_spec(provider, **spec)))


@dataclass
class Position:
    """What a stream said about one position."""

    token: bytes
    parts: dict[int, training_api.FetchRecordsResponse.Chunk] = field(default_factory=dict)
    attributes: api.Attributes | None = None
    tombstone: int = 0
    whole: bool = False

    def add(self, item):
        assert not self.whole, "an item after the last one"
        content = item.WhichOneof("content")
        if content == "tombstone":
            assert item.last and not item.record_token
            self.tombstone = item.tombstone
            self.parts, self.attributes = {}, None
        else:
            assert item.record_token == self.token and len(self.token) == 16
            if content == "chunk":
                self._append(item.chunk)
            else:
                assert content == "attributes" and self.attributes is None
                self.attributes = item.attributes
        self.whole = item.last
        if self.whole:
            assert all(len(part.data) == part.size_bytes for part in self.parts.values())

    def _append(self, chunk):
        part = self.parts.setdefault(chunk.part, chunk)
        if part is chunk:
            assert chunk.offset == 0
            return
        assert (part.category, part.media_type, part.size_bytes) == (
            chunk.category,
            chunk.media_type,
            chunk.size_bytes,
        )
        assert chunk.offset == len(part.data)
        part.data += chunk.data

    def file(self, category):
        return next(part.data for part in self.parts.values() if part.category == category)


def _numbers(categories):
    return {api.Category.Value(f"CATEGORY_{category}") for category in categories}


def assert_released(position, specimen, categories):
    """This position carries what `categories` release of the specimen, and not a byte more."""
    files, attributes = specimen.only(_numbers(categories))
    received = [(part.category, part.media_type, part.data) for _, part in sorted(position.parts.items())]
    assert received == [(file.category, file.media_type, file.data) for file in files]
    assert (position.attributes or api.Attributes()) == attributes


@dataclass(frozen=True)
class Release:
    """Which records a message carried."""

    sequence: int
    tokens: set[bytes]


class Epoch:
    """Reads one rank's stream and checks on the way what every stream promises."""

    def __init__(self, vault, snapshot, seed=7, epoch=0, rank=0, world_size=1, start=0, workload=WORKLOAD):
        self._rank, self._world_size, self._start = rank, world_size, start
        self.positions = {}
        self.released = []
        self.next_position = start
        request = training_api.FetchRecordsRequest(
            snapshot=snapshot.name,
            seed=seed,
            epoch=epoch,
            rank=rank,
            world_size=world_size,
            start_position=start,
        )
        self._stream = vault.caller(workload).fetch(request)

    def read(self):
        """Reads one message; false at the end of the stream."""
        message = next(self._stream, None)
        if message is None:
            assert all(position.whole for position in self.positions.values())
            return False
        if self.released:
            assert message.release_sequence > self.released[-1].sequence
        self.released.append(Release(message.release_sequence, {item.record_token for item in message.items}))
        for item in message.items:
            self._take(item)
        assert message.next_position >= self.next_position
        self.next_position = message.next_position
        assert all(self._is_whole(position) for position in self._own(self.next_position))
        return True

    def read_all(self):
        while self.read():
            pass
        return self

    def hang_up(self):
        self._stream.close()

    def _take(self, item):
        if item.position not in self.positions:
            assert item.position % self._world_size == self._rank and item.position >= self._start
            assert not self.positions or item.position > max(self.positions)
            self.positions[item.position] = Position(item.record_token)
        self.positions[item.position].add(item)

    def _own(self, end):
        """The positions of this rank from its start up to `end`."""
        return (p for p in range(self._start, end) if p % self._world_size == self._rank)

    def _is_whole(self, position):
        return position in self.positions and self.positions[position].whole
