"""An export is a folder that others load without the run: the same vectors, a card with the run's numbers, an index of its objects."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from typer.testing import CliRunner

from mcdist.cli.main import app
from mcdist.errors import CheckpointError, ConfigError, DataError, MachineError
from mcdist.run_dir import RunDir
from mcdist.trained import embed_photo, load_encoder
from mcdist.workflows.exporting import Wanted, export_run
from tests.catalogue.catalogued_run import catalogued_run
from tests.fixture_types import ShardsAt
from tests.servers import starts_a_server


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, shards_at: ShardsAt) -> RunDir:
    pytest.importorskip("huggingface_hub", reason="pip install 'mcdist[hub]'")
    pytest.importorskip("faiss", reason="pip install 'mcdist[faiss-cpu]'")
    return catalogued_run(tmp_path_factory.mktemp("exported"), shards_at=shards_at)


@pytest.fixture(scope="module")
def folder(run_dir: RunDir) -> Path:
    out = run_dir.root.parent / "folder"
    export_run(run_dir, out=out, wanted=Wanted(faiss=True, licence="MIT"))
    return out


def photo() -> torch.Tensor:
    return torch.randint(0, 256, (3, 45, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_folder_gives_the_runs_vectors_in_three_lines(run_dir: RunDir, folder: Path) -> None:
    ours, theirs = (embed_photo(load_encoder(place), photo()) for place in (folder, run_dir.root))
    assert torch.equal(ours.features, theirs.features) and torch.equal(ours.saliency, theirs.saliency)


def test_hugging_faces_mixin_loads_it_and_saves_it_again(folder: Path, tmp_path: Path) -> None:
    from mcdist.export.hub import HubEncoder

    loaded = HubEncoder.from_pretrained(folder)
    loaded.save_pretrained(tmp_path / "again")
    again = HubEncoder.from_pretrained(tmp_path / "again")
    pixels = torch.rand(2, 3, 32, 48)
    assert all(torch.equal(one, other) for one, other in zip(loaded(pixels), again(pixels), strict=True))
    embedded = embed_photo(load_encoder(tmp_path / "again"), photo())
    assert torch.equal(embedded.features, embed_photo(load_encoder(folder), photo()).features)


def test_the_files_are_hugging_faces(folder: Path) -> None:
    config, preprocessor = (json.loads((folder / name).read_text()) for name in ("config.json", "preprocessor_config.json"))
    assert config["format"] == "mcdist encoder 1" and config["model"]["backbone"] == "resnet18" and config["model"]["weights"] == "none"
    assert preprocessor["image_mean"] == [0.485, 0.456, 0.406] and preprocessor["do_normalize"] is False and preprocessor["size_divisor"] == 8
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert all(name.startswith("encoder.") for name in file.keys())  # noqa: SIM118 - not a dictionary
    assert oct((folder / "model.safetensors").stat().st_mode & 0o777) == oct((folder / "README.md").stat().st_mode & 0o777)


def test_the_card_says_what_the_run_was_and_tells_no_path(folder: Path, run_dir: RunDir) -> None:
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: mcdist\nlicense: mit\n")
    for part in (
        "the shards `shards`, 12 photos",
        "| backbone | resnet18 |",
        "| started from | random weights |",
        "This run was not evaluated",
        "objects.faiss",
    ):
        assert part in card
    everything = [path for path in folder.rglob("*") if path.suffix in (".json", ".md", ".jsonl", "")]
    assert [path.name for path in everything if path.is_file() and str(run_dir.root.parent) in path.read_text()] == []


def test_hugging_face_reads_the_card(folder: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "mcdist" and card.data.license == "mit"


def test_the_index_finds_each_object_itself_with_faiss_and_json_alone(folder: Path, run_dir: RunDir) -> None:
    import faiss
    from safetensors.numpy import load_file

    from mcdist.catalogue.catalogue import Catalogue

    catalogue = Catalogue.open(run_dir)
    index, tables = faiss.read_index(str(folder / "objects.faiss")), load_file(folder / "projection.safetensors")
    lines = [json.loads(line) for line in (folder / "objects.jsonl").read_text().splitlines()]
    points = (catalogue.objects.vector - tables["mean"]) @ tables["projection"]
    points /= numpy.linalg.norm(points, axis=1, keepdims=True)
    _, rows = index.search(points.astype(numpy.float32), 1)
    same = [numpy.allclose(points[row], point, atol=1e-5) for row, point in zip(rows[:, 0], points, strict=True)]
    assert all(same) and len(lines) == index.ntotal == len(catalogue.objects)
    assert {line["class"] for line in lines} <= {f"unnamed cluster {number}" for number in range(3)} and lines[0]["photo"] in catalogue.photos


def test_an_export_is_replaced_only_on_demand_and_nothing_else_ever(folder: Path, run_dir: RunDir, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds an export; replace it with --overwrite"):
        export_run(run_dir, out=folder, wanted=Wanted())
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there and is no export; choose a folder that is new or empty"):
        export_run(run_dir, out=tmp_path, wanted=Wanted(), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_disk_that_fills_up_in_the_middle_leaves_the_earlier_export(run_dir: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mcdist.workflows import exporting

    out = tmp_path / "out"
    export_run(run_dir, out=out, wanted=Wanted())
    before = (out / "model.safetensors").read_bytes()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "write_index", full)
    with pytest.raises(MachineError, match="cannot write .*out: No space left on device; .* an earlier export is untouched"):
        export_run(run_dir, out=out, wanted=Wanted(faiss=True), overwrite=True)
    assert (out / "model.safetensors").read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_refuses_the_weights_is_one_sentence(run_dir: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, folder: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: Input/output error (os error 5)")

    monkeypatch.setattr("mcdist.export.hub.HubEncoder.save_pretrained", refuse)
    with pytest.raises(MachineError, match=r"cannot write .*refused: .*os error 5.*an earlier export is untouched"):
        export_run(run_dir, out=tmp_path / "refused", wanted=Wanted())
    assert not (tmp_path / "refused").exists()


def test_what_is_no_export_or_a_damaged_one_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    config, weights = (folder / "config.json").read_text(), (folder / "model.safetensors").read_bytes()
    for content, tensors, message in (
        (config, weights[: len(weights) // 2], "is no folder that mcdist export wrote, or it is damaged"),
        ("[]", weights, "is no folder that mcdist export wrote, or it is damaged"),
        (config.replace("mcdist encoder 1", "mcdist encoder 9"), weights, "has the format 'mcdist encoder 9', this mcdist reads 'mcdist encoder 1'"),
        (config.replace('"embedding_dim"', '"embedding_dimm"'), weights, "has a model that this mcdist does not know"),
        (config.replace('"embedding_dim": 8', '"embedding_dim": 9'), weights, "does not fit"),
    ):
        (tmp_path / "config.json").write_text(content)
        (tmp_path / "model.safetensors").write_bytes(tensors)
        with pytest.raises(CheckpointError, match=message) as caught:
            load_encoder(tmp_path)
        assert "\n" not in str(caught.value)


def test_an_index_needs_a_catalogue(run_dir: RunDir, tmp_path: Path) -> None:
    run_dir.catalogue.rename(tmp_path / "catalogue")
    try:
        with pytest.raises(DataError, match="mcdist cluster"):
            export_run(run_dir, out=tmp_path / "out", wanted=Wanted(faiss=True))
    finally:
        (tmp_path / "catalogue").rename(run_dir.catalogue)


def test_the_command_prints_how_to_load_it(run_dir: RunDir, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(run_dir.root), "--out", str(tmp_path / "out"), "--faiss"])
    assert result.exit_code == 0, result.output
    assert "load it with mcdist.trained.load_encoder(" in result.output and "objects.faiss: " in result.output


@pytest.mark.slow
def test_an_mlflow_model_is_registered_and_holds_no_path(run_dir: RunDir, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install 'mcdist[mlflow]'")
    made = export_run(run_dir, out=tmp_path / "out", wanted=Wanted(mlflow=True, register="mcdist-test"))
    assert made.registered == "models:/mcdist-test/1"
    assert str(tmp_path) not in (tmp_path / "out/mlflow/MLmodel").read_text()
    answer = mlflow.pyfunc.load_model(made.registered).predict(photos_in_base64())[0]
    assert (answer["width"], answer["height"]) == (70, 45) and abs(numpy.linalg.norm(answer["vector"]) - 1) < 1e-5


@pytest.mark.slow
@starts_a_server
def test_mlflow_serves_it_on_loopback(run_dir: RunDir, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install 'mcdist[mlflow]'")
    export_run(run_dir, out=tmp_path / "out", wanted=Wanted(mlflow=True))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(tmp_path / "out/mlflow"), "--env-manager", "local", "--host", "127.0.0.1"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        answer = ask(port, {"dataframe_records": photos_in_base64().to_dict("records")}, within_s=240)["predictions"][0]
        mask = numpy.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask_png"]))))
        embedded = embed_photo(load_encoder(run_dir.root), photo())
        assert mask.shape == (45, 70) and set(numpy.unique(mask)) <= {0, 255} and len(answer["vector"]) == embedded.features.shape[1]
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(port, {"dataframe_records": [{"photo": "no photo"}]}, within_s=10)
        with caught.value as refused:  # it holds the answer's socket
            assert refused.code == 400
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


def photos_in_base64():
    """One PNG, as the served model takes it."""
    import pandas

    buffer = io.BytesIO()
    Image.fromarray(photo().permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return pandas.DataFrame({"photo": [base64.b64encode(buffer.getvalue()).decode()]})


def ask(port: int, body: dict, *, within_s: float) -> dict:
    """The answer of the server, which may still be starting."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"})
    until_s = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > until_s:
                raise TimeoutError("the server did not answer") from None
            time.sleep(1)
