"""Fetching: the bytes that were uploaded, only those granted and asked for, in the order that anyone can compute."""

import json

import pytest
from idvault.v1 import resources_pb2 as api

from order import index, order
from receipts import EVERYTHING, FIELDS, grant
from server import REPOSITORY
from specimens import load
from training import Epoch, assert_released, snapshot_of

FACE = api.CATEGORY_FACE_IMAGE


@pytest.fixture
def stocked(provider):
    """A tenant with all specimens."""
    for specimen in load():
        provider.upload(specimen)
    return provider


def test_all_that_is_granted_and_asked_for_arrives_unchanged(stocked):
    epoch = Epoch(stocked.vault, snapshot_of(stocked)).read_all()
    assert sorted(epoch.positions) == list(range(12))
    by_face = {specimen.files[0].data: specimen for specimen in load()}
    assert {position.file(FACE) for position in epoch.positions.values()} == set(by_face)
    for position in epoch.positions.values():
        assert_released(position, by_face[position.file(FACE)], EVERYTHING)
    assert len({position.token for position in epoch.positions.values()}) == 12


def test_only_what_is_asked_for(stocked):
    asked = ("FACE_IMAGE", "DATE_OF_BIRTH", "NAME")
    by_face = {specimen.files[0].data: specimen for specimen in load()}
    for position in Epoch(stocked.vault, snapshot_of(stocked, categories=asked)).read_all().positions.values():
        assert_released(position, by_face[position.file(FACE)], asked)


def test_only_what_is_granted_for_the_purpose(provider):
    specimen = load()[1]
    face_match = ("FACE_IMAGE", "SEX")
    provider.upload(specimen, [grant("TRAIN_FACE_MATCH", face_match), grant("TRAIN_DOCUMENT_OCR", EVERYTHING[1:])])
    for purpose, released in (("TRAIN_FACE_MATCH", face_match), ("TRAIN_DOCUMENT_OCR", EVERYTHING[1:])):
        epoch = Epoch(provider.vault, snapshot_of(provider, purpose=purpose)).read_all()
        assert_released(epoch.positions[0], specimen, released)


@pytest.mark.parametrize("scope", [{"recipients": ["Another Ltd"]}, {"regions": ["eu-1"]}])
def test_grant_is_for_its_recipients_and_regions(provider, scope):
    provider.upload(load()[1], [grant("TRAIN_DOCUMENT_OCR", EVERYTHING, **scope)])
    assert snapshot_of(provider).position_count == 0


def test_refusal_beats_a_grant(provider):
    refused = grant("TRAIN_DOCUMENT_OCR", ["FACE_IMAGE"], decision="refused")
    bias = grant("EVALUATE_BIAS", ["FACE_IMAGE"])
    provider.upload(load()[1], [grant("TRAIN_DOCUMENT_OCR", EVERYTHING), refused, bias])
    epoch = Epoch(provider.vault, snapshot_of(provider)).read_all()
    assert_released(epoch.positions[0], load()[1], EVERYTHING[1:])


def test_ranks_share_an_epoch(stocked):
    snapshot = snapshot_of(stocked, categories=FIELDS)
    alone = Epoch(stocked.vault, snapshot).read_all()
    together = {}
    for rank in range(5):
        share = Epoch(stocked.vault, snapshot, rank=rank, world_size=5).read_all()
        assert sorted(share.positions) == list(range(rank, 12, 5))
        together |= share.positions
    assert together == alone.positions


@pytest.mark.parametrize("rank, world_size", [(0, 1), (1, 2)])
def test_stream_resumes_where_it_broke_off(stocked, rank, world_size):
    snapshot = snapshot_of(stocked)
    unbroken = Epoch(stocked.vault, snapshot, rank=rank, world_size=world_size).read_all()
    broken = Epoch(stocked.vault, snapshot, rank=rank, world_size=world_size)
    while broken.next_position <= rank:
        assert broken.read()
    broken.hang_up()
    resume = broken.next_position
    assert rank < resume <= 12
    rest = Epoch(stocked.vault, snapshot, rank=rank, world_size=world_size, start=resume).read_all()
    whole = {number: position for number, position in broken.positions.items() if number < resume}
    assert whole.keys().isdisjoint(rest.positions)
    assert whole | rest.positions == unbroken.positions
    assert rest.released[0].sequence > broken.released[-1].sequence


def test_order_is_the_keyed_permutation(stocked):
    snapshot = snapshot_of(stocked, categories=FIELDS)

    def tokens(seed, epoch):
        positions = Epoch(stocked.vault, snapshot, seed=seed, epoch=epoch).read_all().positions
        return [positions[number].token for number in range(12)]

    listed = dict(zip(order(7, 0, 12), tokens(7, 0), strict=True))
    for seed, epoch in ((7, 1), (8, 0), (2**64 - 1, 2**32 - 1)):
        assert tokens(seed, epoch) == [listed[index] for index in order(seed, epoch, 12)]


def test_order_agrees_with_its_vectors():
    for case in json.loads((REPOSITORY / "tests/vectors/order.json").read_text()):
        seed, epoch, count = int(case["seed"]), case["epoch"], case["n"]
        computed = [index(seed, epoch, count, position) for position in range(len(case["indices"]))]
        assert computed == case["indices"]
