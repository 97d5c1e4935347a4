import hashlib
import io
import json
import tarfile
from pathlib import Path

from testbed.builds import digest_of
from testbed.oci import write_derived_image, write_program_image


def test_an_image_of_one_program_is_a_valid_archive_that_starts_it(tmp_path: Path) -> None:
    program = tmp_path / "pause-v1"
    program.write_bytes(b"\x7fELF and so on")
    write_program_image(program, "pause", "localhost/x/pause:1", tmp_path / "image.tar", "amd64")

    with tarfile.open(tmp_path / "image.tar") as archive:
        held = {m.name: f.read() for m in archive if (f := archive.extractfile(m)) is not None}
    for name, data in held.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    [entry] = json.loads(held["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": "localhost/x/pause:1"}
    manifest = json.loads(held["blobs/" + entry["digest"].replace(":", "/")])
    config = json.loads(held["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    layer = held["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
    assert config["config"] == {"Entrypoint": ["/pause"], "User": "65532:65532"}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert b"\x7fELF and so on" in layer


def test_a_derived_image_has_the_files_of_both_and_starts_the_same_program(tmp_path: Path) -> None:
    program, base, target = tmp_path / "pause-v1", tmp_path / "image.tar", tmp_path / "derived.tar"
    program.write_bytes(b"\x7fELF and so on")
    write_program_image(program, "pause", "localhost/x/pause:1", base, "amd64")
    write_derived_image(base, "localhost/x/more:1", {"opt/more.py": b"print()"}, target)

    with tarfile.open(target) as archive:
        held = {m.name: f.read() for m in archive if (f := archive.extractfile(m)) is not None}
    [entry] = json.loads(held["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": "localhost/x/more:1"}
    manifest = json.loads(held["blobs/" + entry["digest"].replace(":", "/")])
    config = json.loads(held["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    layers = [held["blobs/" + each["digest"].replace(":", "/")] for each in manifest["layers"]]
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    assert [each["size"] for each in manifest["layers"]] == [len(each) for each in layers]
    names = []
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            names += archive.getnames()
    assert names == ["pause", "opt/more.py"]


def test_a_digest_changes_with_what_goes_in_and_with_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "runtime"
    source.mkdir()
    (source / "a.py").write_text("1")
    before = digest_of(["recipe"], [source], tmp_path)

    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "a.pyc").write_text("x")
    assert digest_of(["recipe"], [source], tmp_path) == before
    assert digest_of(["recipe 2"], [source], tmp_path) != before
    (source / "a.py").write_text("2")
    changed = digest_of(["recipe"], [source], tmp_path)
    assert changed != before
    (source / "a.py").rename(source / "b.py")
    assert digest_of(["recipe"], [source], tmp_path) not in (before, changed)
