"""A bundle is deterministic; one that is damaged, cut short or hostile is refused in one line."""

import dataclasses
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import FormatError, IntegrityError, MlrunError, StoreError, UsageError
from runner.flow.share import export_bundle, import_bundle
from runner.flow.verify import verify
from runner.records.exports.listing import File, Listing, parse
from runner.records.finish import finish
from runner.store.garbage import collect
from runner.store.store import Store
from runner.worker.hashing import sha256_of
from tests.store.runs import a_run, end, everything_below, wrote


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> tuple[Path, str]:
    """A bundle of a run in a store that nobody else has."""
    base = tmp_path_factory.mktemp("origin")
    store = Store.open(base / "store", base / "cache")
    run = a_run(store)
    run.stdout.write_text("private\n")
    run.metrics.write_text('{"name": "rmse", "value": 1}\n')
    wrote(run, store, {"model.bin": b"model" * 1000})
    end(run)
    target = base / "run.mlrun.tar.gz"
    export_bundle(run, store, target, logs=False, observed=False)
    return target, run.id


def members(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        return [(item.name, archive.extractfile(item).read()) for item in archive]


def packed(path: Path, items: list[tuple[str, bytes]]) -> Path:
    """Write an archive as somebody else would."""
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, data in items:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def refused(path: Path, *kinds: type[MlrunError]) -> str:
    """Import into a new store; return the one line that refuses it, and see that nothing was written."""
    store = Store.open()
    before = everything_below(store.root)
    with pytest.raises(kinds or (FormatError, IntegrityError)) as error:
        import_bundle(path, store)
    assert everything_below(store.root) - before <= {"tmp", "lock"}
    assert "\n" not in error.value.message
    return error.value.message


def test_what_comes_in_is_what_went_out_without_its_logs(bundled):
    path, identity = bundled
    store = Store.open()
    taken = import_bundle(path, store)
    assert (taken.run.id, taken.new, taken.listing.without) == (identity, True, ("stdout.log",))
    assert not taken.run.stdout.exists()
    result = verify(store, [taken.run], everything=True)
    assert result.whole
    assert [(each.file, each.wrong) for each in result.findings] == [(f"runs/{identity}/stdout.log", False)]
    record = finish(taken.run, store)
    assert [each.run for each in store.index.producers(record["outputs"][0]["digest"]["sha256"])] == [identity]
    assert store.find(identity[-8:]).id == identity
    assert import_bundle(path, store).new is False
    collect(store)
    assert verify(store, [taken.run], everything=True).whole


def test_the_same_run_gives_the_same_bytes(bundled, tmp_path):
    path, identity = bundled
    base = path.parent
    store = Store.open(base / "store", base / "cache")
    export_bundle(store.find(identity), store, tmp_path / "again.mlrun.tar.gz", logs=False, observed=False)
    assert (tmp_path / "again.mlrun.tar.gz").read_bytes() == path.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        export_bundle(store.find(identity), store, path, logs=False, observed=False)


def test_logs_come_when_they_are_asked_for_also_later(bundled, tmp_path):
    path, identity = bundled
    origin = Store.open(path.parent / "store", path.parent / "cache")
    export_bundle(origin.find(identity), origin, tmp_path / "logs.tar.gz", logs=True, observed=False)
    store = Store.open()
    import_bundle(path, store)
    run = import_bundle(tmp_path / "logs.tar.gz", store).run
    assert run.stdout.read_text() == "private\n"
    assert verify(store, [run], everything=True).findings == ()


def test_zstandard_is_read_by_what_it_is_and_its_absence_is_one_line(bundled, tmp_path):
    path, identity = bundled
    origin = Store.open(path.parent / "store", path.parent / "cache")
    target = tmp_path / "run.tar.zst"
    pytest.importorskip("zstandard")
    export_bundle(origin.find(identity), origin, target, logs=False, observed=False)
    target.rename(tmp_path / "renamed.tar.gz")
    assert import_bundle(tmp_path / "renamed.tar.gz", Store.open()).run.id == identity


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_or_a_cut_is_refused_or_harmless(bundled, tmp_path, data):
    """A few bits of a compressed stream mean nothing: what comes in then is whole."""
    path, _ = bundled
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        changed = bytearray(whole)
        changed[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        changed = whole[: data.draw(st.integers(0, len(whole) - 1))]
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(changed)
    place = tmp_path / "place"
    store = Store.open(place, tmp_path / "cache")
    try:
        run = import_bundle(bad, store).run
    except MlrunError as error:
        said = error.message
        assert not list(store.runs()), said
    else:
        assert verify(store, [run], everything=True).whole
        store.remove(run)


def test_a_flipped_bit_under_the_compression_is_always_refused(bundled, tmp_path):
    path, _ = bundled
    plain = gzip.decompress(path.read_bytes())
    for position in range(0, len(plain), 401):
        changed = bytearray(plain)
        changed[position] ^= 1
        bad = tmp_path / "bad.tar.gz"
        bad.write_bytes(gzip.compress(bytes(changed), 1))
        try:
            import_bundle(bad, Store.open())
        except MlrunError:
            continue
        else:  # a time or an owner in a header, which nothing is made of
            assert verify(Store.open(), Store.open().runs(), everything=True).whole
            Store.open().remove(next(Store.open().runs()))


def test_what_the_archive_holds_has_to_be_what_it_announces(bundled, tmp_path):
    path, _ = bundled
    items = members(path)
    bad = tmp_path / "bad.tar.gz"
    assert "is due" in refused(packed(bad, [items[0], ("../../escape", b"x"), *items[1:]]))
    assert "is due" in refused(packed(bad, [items[0], items[2], items[1], *items[3:]]))
    assert "is due" in refused(packed(bad, [items[0], items[1], items[1], *items[2:]]))
    assert "goes on after its end" in refused(packed(bad, [*items, items[1]]))
    assert "cut short" in refused(packed(bad, items[:-1]))
    assert "another digest" in refused(packed(bad, [*items[:3], (items[3][0], b"x" * len(items[3][1])), *items[4:]]))
    assert "begins with" in refused(packed(bad, items[1:]))
    assert not (tmp_path.parent / "escape").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"x", b"L"]
)
def test_nothing_but_regular_files(bundled, tmp_path, kind):
    path, _ = bundled
    items = members(path)
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as archive:
        header = tarfile.TarInfo("bundle.json")
        header.size = len(items[0][1])
        archive.addfile(header, io.BytesIO(items[0][1]))
        archive.fileobj.write(_link(items[1][0], kind))
    assert "no regular file" in refused(tmp_path / "bad.tar.gz")


def _link(name: str, kind: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, "/etc/passwd"
    return header.tobuf(tarfile.USTAR_FORMAT)


HOSTILE = {
    "../escape": "not one of a run directory",
    "/etc/escape": "not one of a run directory",
    "a/../../escape": "not one of a run directory",
    "work/escape": "not one of a run directory",
    "secrets.json": "not one of a run directory",
    ".reserve": "not one of a run directory",
    "": "not one of a run directory",
    "spec.json": "named twice",
    "spec.json/below": "a file and a directory",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_paths_that_leave_the_run_directory_are_refused(bundled, tmp_path, name):
    path, _ = bundled
    items = members(path)
    listing = json.loads(items[0][1])
    listing["files"].append({"path": name, "size": len(items[1][1]), "sha256": sha256_of(items[1][1])})
    bad = packed(tmp_path / "bad.tar.gz", [("bundle.json", json.dumps(listing).encode()), *items[1:]])
    assert HOSTILE[name] in refused(bad)


def test_what_is_larger_than_the_disk_is_refused_before_it_is_read(bundled, tmp_path):
    path, _ = bundled
    items = members(path)
    listing = json.loads(items[0][1])
    listing["objects"].append({"sha256": "0" * 64, "size": 1 << 60})
    bad = packed(tmp_path / "bad.tar.gz", [("bundle.json", json.dumps(listing).encode()), *items[1:]])
    assert "bytes, and" in refused(bad, StoreError)
    header = tarfile.TarInfo("bundle.json")
    header.size = 1 << 40
    bad.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))
    assert "its bundle.json has 1,099,511,627,776 bytes" in refused(bad)


def test_a_run_whose_own_files_were_exchanged_is_refused(bundled, tmp_path):
    """The archive is consistent, and the record's seal is not, or the list that it seals."""
    path, _ = bundled
    for name, said in (("spec.json", "not the file that its record seals"), ("record.json", "was changed")):
        listing = parse(json.loads(members(path)[0][1]))
        blobs = {sha256_of(data): data for _, data in members(path)[1:]}
        old = next(file for file in listing.files if file.path == name)
        data = blobs[old.sha256].replace(b"iris", b"irit")
        blobs[sha256_of(data)] = data
        files = tuple(File(name, len(data), sha256_of(data)) if file is old else file for file in listing.files)
        assert said in refused(rebuilt(tmp_path / "bad.tar.gz", dataclasses.replace(listing, files=files), blobs))


def test_a_run_without_an_object_it_needs_is_refused(bundled, tmp_path):
    path, _ = bundled
    listing = parse(json.loads(members(path)[0][1]))
    blobs = {sha256_of(data): data for _, data in members(path)[1:]}
    for each in listing.objects:
        fewer = tuple(other for other in listing.objects if other is not each)
        said = refused(rebuilt(tmp_path / "bad.tar.gz", dataclasses.replace(listing, objects=fewer), blobs))
        assert "did not come with it" in said or "is not in the store" in said
    assert listing.objects


def rebuilt(path: Path, listing: Listing, blobs: dict[str, bytes]) -> Path:
    items = [(f"sha256/{sha256}", blobs[sha256]) for sha256, _ in listing.contents()]
    return packed(path, [("bundle.json", listing.to_bytes()), *items])


def test_another_run_of_the_same_id_is_not_overwritten(bundled, tmp_path):
    path, identity = bundled
    store = Store.open()
    run = end(a_run(store, id=identity))
    finish(run, store)
    before = run.record.read_bytes()
    with pytest.raises(StoreError, match="already, with another record"):
        import_bundle(path, store)
    assert run.record.read_bytes() == before


def test_what_is_no_bundle_is_said_to_be_none(tmp_path):
    for data, said in ((b"", "compressed neither"), (b"PK\x03\x04", "compressed neither"), (b"\x1f\x8b\x08", "")):
        (tmp_path / "x").write_bytes(data)
        assert said in refused(tmp_path / "x")
    assert "No such file" in refused(tmp_path / "gone", UsageError)
    newer = packed(tmp_path / "newer.tar.gz", [("bundle.json", b'{"format": "mlrun-bundle", "version": 2}')])
    assert "is of version 2; this mlrun reads 1" in refused(newer)
