"""A folder of photos becomes a folder of masks: resumable, the same bytes however it is shared out, and no photo stops it."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from PIL import Image

from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.proposals.folder.outcome import NOTHING_FOUND, ONE_COLOUR, SAME_NAME, TOO_SMALL, PhotoOutcome
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.proposals.registry import make_method
from tests.proposals.proposal_pictures import disc, files_in, read, save, save_discs

KILL_TIMEOUT_S = 120


def propose(photos: Path, out: Path, **others):
    return propose_folder(photos, out=out, method="red", num_workers=others.pop("num_workers", 0), **others)


def test_each_photo_gets_its_mask_under_its_own_path(tmp_path, other_package):
    truths = save_discs(tmp_path / "photos", num=4)
    done = propose(tmp_path / "photos", tmp_path / "out")
    assert done.complete
    found = [read(path) for path in sorted((tmp_path / "out").rglob("*.png"))]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in sorted((tmp_path / "out").rglob("*.png"))] == [
        "a/p000.png",
        "a/p001.png",
        "b/p002.png",
        "b/p003.png",
    ]
    for mask, truth in zip(found, truths, strict=True):
        assert ((mask > 0) == truth).mean() > 0.98
    manifest = json.loads((tmp_path / "out" / "proposals.json").read_text())
    assert (manifest["method"], manifest["version"], manifest["parameters"]) == ("red", "1", {"wait_s": 0.0})
    assert manifest["outcomes"] == {"proposed": 4}


def test_workers_and_parts_change_no_byte(tmp_path, other_package, monkeypatch):
    save_discs(tmp_path / "photos", num=7)
    propose(tmp_path / "photos", tmp_path / "one")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(other_package), os.environ.get("PYTHONPATH", "")]))
    propose(tmp_path / "photos", tmp_path / "two", num_workers=2)
    parts = [propose(tmp_path / "photos", tmp_path / "three", part=part, num_parts=3) for part in (2, 3, 1)]
    assert [part.complete for part in parts] == [False, False, True]
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two") == files_in(tmp_path / "three")


def test_a_killed_run_resumed_gives_the_same_bytes(tmp_path, other_package):
    save_discs(tmp_path / "photos", num=12)
    command = [sys.executable, "-m", "mcdist", "proposals", "make", "red", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--workers", "1"]
    command += ["--option", "wait_s=0.2"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(other_package), str(root)])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        journal = tmp_path / "out" / ".proposals" / "part-1-of-1.jsonl"
        until = time.monotonic() + KILL_TIMEOUT_S
        while not (journal.is_file() and journal.stat().st_size) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=KILL_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    assert journal.is_file(), said
    num_finished = len(journal.read_text().splitlines())
    assert 0 < num_finished < 12, said
    done = propose(tmp_path / "photos", tmp_path / "out", options={"wait_s": "0.2"})
    assert done.num_kept >= num_finished - 1
    propose(tmp_path / "photos", tmp_path / "whole", options={"wait_s": "0.2"})
    assert files_in(tmp_path / "out") == files_in(tmp_path / "whole")


def test_a_damaged_mask_and_a_new_photo_are_made_and_the_rest_is_kept(tmp_path, other_package):
    save_discs(tmp_path / "photos", num=4)
    propose(tmp_path / "photos", tmp_path / "out")
    before = files_in(tmp_path / "out")
    (tmp_path / "out" / "a" / "p000.png").write_bytes(b"")
    assert propose(tmp_path / "photos", tmp_path / "out").num_made == 1
    assert files_in(tmp_path / "out") == before
    save(tmp_path / "photos" / "c.png", disc()[0])
    done = propose(tmp_path / "photos", tmp_path / "out")
    assert (done.num_made, done.num_kept, done.summary.num_photos) == (1, 4, 5)


def test_other_parameters_and_other_files_are_refused_without_overwrite(tmp_path, other_package):
    save_discs(tmp_path / "photos", num=2)
    propose(tmp_path / "photos", tmp_path / "out")
    with pytest.raises(ConfigError, match="holds other proposals .parameters is .*--overwrite"):
        propose(tmp_path / "photos", tmp_path / "out", options={"wait_s": "0.001"})
    assert propose(tmp_path / "photos", tmp_path / "out", options={"wait_s": "0.001"}, overwrite=True).num_made == 2
    save(tmp_path / "others" / "a.png", disc()[0])
    with pytest.raises(ConfigError, match="found files that mcdist did not propose"):
        propose(tmp_path / "photos", tmp_path / "others")


def test_no_bad_photo_stops_the_run_and_each_is_counted_by_its_rule(tmp_path, other_package):
    photos = tmp_path / "photos"
    photo, truth = disc()
    save(photos / "good.png", photo)
    save(photos / "grey.png", photo[..., 1])
    save(photos / "tiny.png", photo[:8, :8])
    save(photos / "flat.png", numpy.full((40, 50, 3), 77, dtype=numpy.uint8))
    save(photos / "plain.png", numpy.where(truth[..., None], numpy.uint8(90), photo))
    save(photos / "twice.png", photo)
    save(photos / "twice.jpg", photo)
    save(photos / "clear.png", numpy.dstack([photo, numpy.where(numpy.arange(96) < 48, 0, 255).astype(numpy.uint8)[None].repeat(72, axis=0)]))
    save(photos / "broken.png", photo)
    save(photos / "deep.png", (photo[..., 0].astype(numpy.uint16) * 257))
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "cut.jpg").write_bytes(save(tmp_path / "x.jpg", photo).read_bytes()[:300])
    (photos / "text.png").write_text("no picture")
    (photos / "web.webp").write_bytes(b"RIFF1234WEBPVP8 ")
    done = propose(photos, tmp_path / "out")
    assert done.complete
    manifest = json.loads((tmp_path / "out" / "proposals.json").read_text())
    without = {entry["photo"]: entry for entry in manifest["without_mask"]}
    assert {name: entry["outcome"] for name, entry in without.items()} == {
        "broken.png": "failed",
        "cut.jpg": "unreadable",
        "deep.png": "unreadable",
        "empty.jpg": "unreadable",
        "text.png": "unreadable",
        "twice.png": SAME_NAME,
        "web.webp": "unreadable",
    }
    assert without["broken.png"]["reason"] == "ZeroDivisionError: no way to divide this photo"
    assert "16 bits" in without["deep.png"]["reason"]
    assert manifest["outcomes"] == {"proposed": 3, "failed": 1, NOTHING_FOUND: 2, ONE_COLOUR: 1, SAME_NAME: 1, TOO_SMALL: 1, "unreadable": 5}
    assert manifest["notes"]["greyscale"] == 2
    assert not read(tmp_path / "out" / "tiny.png").any()
    clear = read(tmp_path / "out" / "clear.png")
    assert clear.any()
    assert not clear[:, :48].any()


def test_a_huge_photo_is_proposed_on_a_shrunk_copy_at_its_own_size(tmp_path, other_package):
    photo, truth = disc()
    huge = numpy.asarray(Image.fromarray(photo).resize((2400, 1800), Image.Resampling.NEAREST))
    save(tmp_path / "photos" / "huge.png", huge)
    save(tmp_path / "photos" / "turned.jpg", huge, exif=_turned())
    done = propose(tmp_path / "photos", tmp_path / "out")
    assert any("shrunk" in note and count == 2 for note, count in done.summary.notes.items())
    mask = read(tmp_path / "out" / "huge.png")
    assert mask.shape == (1800, 2400)
    assert ((mask > 0) == numpy.kron(truth, numpy.ones((25, 25), dtype=bool))).mean() > 0.97
    assert read(tmp_path / "out" / "turned.png").shape == (2400, 1800)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_method_that_fails_on_most_photos_stops_the_run(tmp_path, other_package):
    photo, _ = disc()
    for number in range(30):
        save(tmp_path / "photos" / f"broken{number}.png", photo)
    with pytest.raises(DataError, match="failed on 2. of 30 photos; the first, broken0.png: ZeroDivisionError"):
        propose(tmp_path / "photos", tmp_path / "out")


def test_no_photos_is_an_error(tmp_path, other_package):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="expected photos"):
        propose(tmp_path / "photos", tmp_path / "out")
    with pytest.raises(DataError, match="expected the folder of photos"):
        propose(tmp_path / "nowhere", tmp_path / "out")


def test_confidence_maps_are_written_where_they_are_asked_for(tmp_path):
    truths = save_discs(tmp_path / "photos", num=2)
    for number, truth in enumerate(truths):
        save(tmp_path / "maps" / "ab"[number] / f"p{number:03d}.png", (truth * 200).astype(numpy.uint8))
    propose_folder(
        tmp_path / "photos", out=tmp_path / "out", method="files", options={"masks": str(tmp_path / "maps")}, num_workers=0, confidence=tmp_path / "soft"
    )
    assert numpy.array_equal(read(tmp_path / "soft" / "a" / "p000.png"), truths[0] * 200)


def test_a_method_that_fails_on_every_photo_is_an_error_and_tries_them_again(tmp_path, other_package):
    photo, _ = disc()
    save(tmp_path / "photos" / "broken.png", photo)
    for _ in range(2):
        with pytest.raises(DataError, match="failed on 1 of 1 photos; the first, broken.png: ZeroDivisionError"):
            propose(tmp_path / "photos", tmp_path / "out")


@pytest.mark.parametrize(
    ("method", "option"), [("ensemble", "superpixels"), ("hierarchy", "regions"), ("felzenszwalb", "scale"), ("spectral_residual", "spectrum_px")]
)
def test_sizes_that_make_no_sense_are_refused(method, option):
    with pytest.raises(ConfigError, match=f"{method}: {option} must be >="):
        make_method(method, options={option: "-5"})


def test_a_folder_that_it_did_not_make_is_never_overwritten(tmp_path, other_package):
    truths = save_discs(tmp_path / "photos", num=2)
    for number, truth in enumerate(truths):
        save(tmp_path / "truth" / "ab"[number] / f"p{number:03d}.png", truth.astype(numpy.uint8))
    before = files_in(tmp_path / "truth")
    for others in ({"out": tmp_path / "truth", "overwrite": True}, {"out": tmp_path / "out", "confidence": tmp_path / "truth", "overwrite": True}):
        with pytest.raises(ConfigError, match="choose another"):
            propose(tmp_path / "photos", **others)
    assert files_in(tmp_path / "truth") == before


@pytest.mark.parametrize("option", ["out", "confidence"])
@pytest.mark.parametrize("inside", ["photos", "photos/masks", "."])
def test_masks_and_confidence_maps_are_kept_apart_from_photos(tmp_path, other_package, option, inside):
    save_discs(tmp_path / "photos", num=2)
    before = files_in(tmp_path / "photos")
    places = {"out": tmp_path / "out"} | {option: tmp_path / inside}
    with pytest.raises(ConfigError, match=rf"--{option} .* and the folder of photos .* must be apart"):
        propose(tmp_path / "photos", **places)
    assert files_in(tmp_path / "photos") == before and not (tmp_path / "out").exists()


def test_confidence_maps_replace_no_masks(tmp_path, other_package):
    save_discs(tmp_path / "photos", num=2)
    with pytest.raises(ConfigError, match=r"--confidence .* and --out .* must be apart"):
        propose(tmp_path / "photos", tmp_path / "out", confidence=tmp_path / "out")


def test_confidence_maps_may_be_asked_for_later_and_again(tmp_path):
    save_discs(tmp_path / "photos", num=2)
    run = dict(out=tmp_path / "out", method="frequency_tuned", num_workers=0)
    propose_folder(tmp_path / "photos", **run)
    for _ in range(2):
        done = propose_folder(tmp_path / "photos", **run, confidence=tmp_path / "soft")
    assert (done.num_made, done.num_kept) == (0, 2)
    with pytest.raises(ConfigError, match="confidence maps of these proposals"):
        propose_folder(tmp_path / "photos", **{**run, "out": tmp_path / "two", "method": "spectral_residual"}, confidence=tmp_path / "soft")


def test_a_mask_that_was_mended_by_hand_is_not_replaced(tmp_path, other_package):
    save_discs(tmp_path / "photos", num=2)
    propose(tmp_path / "photos", tmp_path / "out")
    mended = tmp_path / "out" / "a" / "p000.png"
    save(mended, numpy.ones((96, 96), dtype=numpy.uint8))
    content = mended.read_bytes()
    with pytest.raises(ConfigError, match=r"1 masks in .* were changed since they were proposed, the first p000.png; to keep them"):
        propose(tmp_path / "photos", tmp_path / "out")
    assert mended.read_bytes() == content
    mended.unlink()
    assert propose(tmp_path / "photos", tmp_path / "out").num_made == 1


def test_a_photo_of_the_same_size_with_another_content_is_proposed_anew(tmp_path, other_package):
    save_discs(tmp_path / "photos", num=2)
    propose(tmp_path / "photos", tmp_path / "out")
    photo = next((tmp_path / "photos").rglob("p000.*"))
    content = photo.read_bytes()
    photo.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert propose(tmp_path / "photos", tmp_path / "out").num_made == 1


def test_a_full_disk_is_one_sentence(tmp_path, other_package, monkeypatch):
    save_discs(tmp_path / "photos", num=2)

    def refuse(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(PhotoOutcome, "to_line", refuse)
        with pytest.raises(MachineError, match=r"cannot write in .*out: no space left; free some space and run the same command again"):
            propose(tmp_path / "photos", tmp_path / "out")
    assert propose(tmp_path / "photos", tmp_path / "out").complete


def test_a_photo_whose_header_is_damaged_stops_nothing(tmp_path, other_package):
    """In a process of its own, where Pillow has loaded no decoder yet."""
    save_discs(tmp_path / "photos", num=2)
    (tmp_path / "photos" / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xc0\0\x0b\x08\0\x20\0\x20\x01\x01\x11\0\xff\xff\xff")
    code = f"from pathlib import Path; from mcdist.proposals.folder.propose_folder import propose_folder as p; print(p(Path({str(tmp_path / 'photos')!r}), "
    code += f"out=Path({str(tmp_path / 'out')!r}), method='frequency_tuned', num_workers=0).summary.outcomes)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'proposed': 2, 'unreadable': 1}"
