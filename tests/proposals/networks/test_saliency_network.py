"""Saliency networks from files: layouts, outputs, and what is said where they do not fit."""

import builtins

import numpy
import pytest

from mcdist.errors import ConfigError, MissingExtraError
from mcdist.proposals.folder.propose_folder import propose_folder
from mcdist.proposals.networks.saliency_network import LAYOUTS, prepare, to_saliency
from mcdist.proposals.registry import make_method
from tests.proposals.networks.tiny_networks import red_onnx, red_torchscript
from tests.proposals.proposal_pictures import disc, files_in, iou, save_discs


@pytest.fixture
def onnx_file(tmp_path):
    pytest.importorskip("onnxruntime", reason="pip install 'mcdist[saliency]'")
    return lambda **options: red_onnx(tmp_path / "red.onnx", **{"shape": [1, 3, 64, 64], **options})


def test_an_onnx_network_finds_what_it_finds(onnx_file):
    photo, truth = disc()
    method = make_method("saliency_network", options={"network": str(onnx_file())})
    (proposal,) = method([photo])
    assert iou(proposal.instances > 0, truth) > 0.85
    assert proposal.confidence is not None
    assert proposal.confidence.shape == truth.shape and proposal.confidence.dtype == numpy.float32
    assert method.parameters["size_px"] == [64, 64]


def test_a_torchscript_network_finds_the_same(tmp_path):
    photo, truth = disc()
    network = red_torchscript(tmp_path / "red.pt", size_px=64)
    (proposal,) = make_method("saliency_network", options={"network": str(network), "size_px": "64"})([photo])
    assert iou(proposal.instances > 0, truth) > 0.85


@pytest.mark.parametrize("shape", [["n", 3, "h", "w"], [4, 3, 48, 80], ["n", "c", 64, 64]])
def test_input_sizes_are_read_from_the_file(onnx_file, shape):
    photo, truth = disc()
    options = {"network": str(onnx_file(shape=shape))} | ({"size_px": "64"} if shape[2] == "h" else {})
    (proposal,) = make_method("saliency_network", options=options)([photo])
    assert iou(proposal.instances > 0, truth) > 0.8


def test_another_output_is_chosen_by_name(onnx_file):
    network = str(onnx_file(outputs=("side", "fused")))
    assert make_method("saliency_network", options={"network": network, "output": "fused"})([disc()[0]])[0].num_objects == 1
    with pytest.raises(ConfigError, match="has no output 'fuse'; its outputs: side, fused"):
        make_method("saliency_network", options={"network": network, "output": "fuse"})


def test_logits_are_refused_until_a_sigmoid_is_asked_for(onnx_file):
    network = str(onnx_file(sigmoid=False))
    with pytest.raises(ConfigError, match="a saliency must be between 0 and 1; for logits add --option sigmoid=true"):
        make_method("saliency_network", options={"network": network})([disc()[0]])
    assert make_method("saliency_network", options={"network": network, "sigmoid": "true"})([disc()[0]])[0].num_objects == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": [1, 64, 64, 3], "channels_last": True}, r"shape \[1, 64, 64, 3\], expected \[N, 3, H, W\]; it takes colours last"),
        ({"shape": [1, 3, 64]}, r"shape \[1, 3, 64\], expected \[N, 3, H, W\]|no ONNX network that onnxruntime can load"),
    ],
)
def test_an_input_of_another_layout_is_named(onnx_file, options, message):
    with pytest.raises(ConfigError, match=message):
        make_method("saliency_network", options={"network": str(onnx_file(**options))})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a network's file, ONNX or TorchScript"),
        ({"network": "red.keras"}, "must be a file ending in .onnx, .pt"),
        ({"network": "nowhere.onnx"}, "expected a saliency network at nowhere.onnx, found none"),
        ({"network": "nowhere.onnx", "layout": "u3net"}, "layout must be one of u2net, basnet, isnet, imagenet, got 'u3net'"),
        ({"network": "nowhere.onnx", "size_px": "8"}, "size_px must be >= 32"),
        ({"network": "nowhere.onnx", "threshold": "2"}, "threshold and area_min_share must be within 0..1, got 2"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(options, message):
    with pytest.raises(ConfigError, match=message):
        make_method("saliency_network", options=options)


def test_a_size_that_the_file_does_not_take_is_refused(onnx_file):
    with pytest.raises(ConfigError, match="takes photos of 64 x 64 px only, got size_px=320"):
        make_method("saliency_network", options={"network": str(onnx_file()), "size_px": "320"})


def test_files_that_are_no_network_are_refused(tmp_path):
    for name in ("red.onnx", "red.pt"):
        (tmp_path / name).write_bytes(b"no network")
    pytest.importorskip("onnxruntime", reason="pip install 'mcdist[saliency]'")
    with pytest.raises(ConfigError, match="is no ONNX network that onnxruntime can load"):
        make_method("saliency_network", options={"network": str(tmp_path / "red.onnx")})
    with pytest.raises(ConfigError, match="is no TorchScript network"):
        make_method("saliency_network", options={"network": str(tmp_path / "red.pt")})


def test_without_onnxruntime_the_install_line_is_given(tmp_path, monkeypatch):
    (tmp_path / "red.onnx").write_bytes(b"")
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'mcdist\[saliency\]'"):
        make_method("saliency_network", options={"network": str(tmp_path / "red.onnx")})


def test_layouts_prepare_photos_as_published():
    photo = numpy.full((4, 4, 3), 100, dtype=numpy.uint8)
    by_maximum = prepare(photo, layout=LAYOUTS["u2net"], height=8, width=8)
    numpy.testing.assert_allclose(by_maximum[0, :, 0, 0], (1 - numpy.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5)
    plain = prepare(photo, layout=LAYOUTS["isnet"], height=8, width=8)
    numpy.testing.assert_allclose(plain, 100 / 255 - 0.5, rtol=1e-5)
    assert not prepare(numpy.zeros((4, 4, 3), dtype=numpy.uint8), layout=LAYOUTS["isnet"], height=8, width=8).max() > 0


def test_stretching_leaves_a_flat_map_as_it_is(tmp_path):
    flat = numpy.full((4, 4), 0.25, dtype=numpy.float32)
    assert (to_saliency(flat, sigmoid=False, stretch=True, path=tmp_path) == 0.25).all()
    slope = numpy.linspace(0.2, 0.4, 16, dtype=numpy.float32).reshape(4, 4)
    stretched = to_saliency(slope, sigmoid=False, stretch=True, path=tmp_path)
    assert stretched.min() == 0 and stretched.max() == 1
    with pytest.raises(ConfigError, match="not finite"):
        to_saliency(flat * numpy.nan, sigmoid=False, stretch=False, path=tmp_path)


def test_a_folder_of_photos_goes_through(onnx_file, tmp_path):
    save_discs(tmp_path / "photos", num=3)
    propose_folder(tmp_path / "photos", out=tmp_path / "masks", method="saliency_network", options={"network": str(onnx_file())}, num_workers=0)
    assert {"a/p000.png", "proposals.json"} <= files_in(tmp_path / "masks").keys()
