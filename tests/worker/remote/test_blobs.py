import io
import os

import pytest

from runner.errors import IntegrityError, StoreError
from runner.worker.hashing import sha256_of
from runner.worker.remote.blobs import PIECE, Blob, send
from runner.worker.remote.frames import Channel, Cut
from runner.worker.remote.inbox import Inbox, Place

LARGE = PIECE * 2 + 12345


@pytest.fixture
def files(tmp_path):
    """Files by their digests: an empty one, small ones, large ones."""
    made = {}
    for number, size in enumerate([0, 1, 1000, PIECE - 1, PIECE, LARGE]):
        path = tmp_path / f"file{number}"
        path.write_bytes(os.urandom(size))
        made[sha256_of(path.read_bytes())] = path
    return made


def frames(blobs):
    out = io.BytesIO()
    send(Channel(io.BytesIO(), out), blobs)
    channel, found = Channel(io.BytesIO(out.getvalue()), io.BytesIO()), []
    while True:
        try:
            found.append(channel.receive())
        except Cut:
            return found


def blob(sha256, path, offset=0):
    return Blob(sha256, path.stat().st_size, str(path), offset)


def inbox(tmp_path, digests, mode=0o444):
    places = {sha256: (Place(str(tmp_path / "in" / sha256), mode),) for sha256 in digests}
    return Inbox(tmp_path / "aside", places)


def test_blobs_come_as_they_were(files, tmp_path):
    target = inbox(tmp_path, files)
    for frame in frames([blob(*pair) for pair in files.items()]):
        target.take(frame)
    target.sync()
    for sha256, path in files.items():
        there = tmp_path / "in" / sha256
        assert there.read_bytes() == path.read_bytes()
        assert there.stat().st_mode & 0o777 == 0o444
    assert not list((tmp_path / "aside").glob("*"))


def test_a_transfer_goes_on_where_it_was_cut(files, tmp_path):
    sha256, path = list(files.items())[-1]
    whole = frames([blob(sha256, path)])
    inbox(tmp_path, [sha256]).take(whole[0])
    again = inbox(tmp_path, [sha256])
    offset = again.offset(sha256)
    assert offset == PIECE
    for frame in frames([blob(sha256, path, offset)]):
        again.take(frame)
    assert (tmp_path / "in" / sha256).read_bytes() == path.read_bytes()


def test_two_that_bring_the_same_do_no_harm(files, tmp_path):
    sha256, path = list(files.items())[-1]
    one, other = inbox(tmp_path, [sha256]), inbox(tmp_path, [sha256])
    whole = frames([blob(sha256, path)])
    for frame in whole[:2]:
        one.take(frame)
        other.take(frame)
    other.take(whole[2])
    one.take(whole[2])
    assert (tmp_path / "in" / sha256).read_bytes() == path.read_bytes()


def test_a_partial_file_that_is_damaged_is_thrown_away(files, tmp_path):
    sha256, path = list(files.items())[-1]
    target = inbox(tmp_path, [sha256])
    target.take(frames([blob(sha256, path)])[0])
    partial = tmp_path / "aside" / f"part-{sha256}"
    partial.write_bytes(bytes(PIECE))
    again = inbox(tmp_path, [sha256])
    *most, last = frames([blob(sha256, path, again.offset(sha256))])
    for frame in most:
        again.take(frame)
    with pytest.raises(IntegrityError, match="did not arrive"):
        again.take(last)
    assert again.offset(sha256) == 0


def test_what_is_not_what_it_says_is_refused(files, tmp_path):
    sha256, path = list(files.items())[2]
    (frame,) = frames([blob(sha256, path)])
    target = inbox(tmp_path, [sha256_of(b"other")])
    with pytest.raises(IntegrityError, match="not asked for"):
        target.take(frame)
    lying = type(frame)(frame.kind, frame.head, b"x" * len(frame.body))
    with pytest.raises(IntegrityError, match="did not arrive"):
        inbox(tmp_path, [sha256]).take(lying)
    assert not (tmp_path / "in").exists() or not list((tmp_path / "in").iterdir())


def test_what_is_named_by_no_digest_is_written_nowhere(tmp_path):
    for name in ("/../../../stolen", "part/../../stolen", "a" * 63, "A" * 64, ""):
        with pytest.raises(IntegrityError, match="no digest"):
            inbox(tmp_path, [name])
    assert not list(tmp_path.rglob("stolen"))


def test_one_blob_may_belong_to_several_places(files, tmp_path):
    for sha256, path in list(files.items())[-2:]:
        places = (Place(str(tmp_path / "a" / sha256)), Place(str(tmp_path / "b" / sha256), 0o755))
        target = Inbox(tmp_path / "aside", {sha256: places})
        for frame in frames([blob(sha256, path)]):
            target.take(frame)
        assert (tmp_path / "a" / sha256).read_bytes() == (tmp_path / "b" / sha256).read_bytes() == path.read_bytes()
        assert os.access(tmp_path / "b" / sha256, os.X_OK)


def test_a_file_that_shrinks_while_it_is_sent_is_said(files):
    for sha256, path in list(files.items())[2:]:
        known = blob(sha256, path)
        path.write_bytes(b"less")
        with pytest.raises(StoreError, match="changed while it was sent"):
            frames([known])


def test_one_that_begins_after_another_has_finished(files, tmp_path):
    sha256, path = list(files.items())[-1]
    whole = frames([blob(sha256, path)])
    one, other = inbox(tmp_path, [sha256]), inbox(tmp_path, [sha256])
    one.take(whole[0])
    for frame in whole[1:]:
        one.take(frame)
    for frame in whole[1:]:
        other.take(frame)
    assert (tmp_path / "in" / sha256).read_bytes() == path.read_bytes()
    assert not list((tmp_path / "aside").glob("*"))
    with pytest.raises(IntegrityError, match="is gone"):
        inbox(tmp_path / "elsewhere", [sha256]).take(whole[1])
