"""mcdist view of a real run: what it says where it cannot start, and that the parts fit together."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcdist.errors import ConfigError, DataError, MachineError
from mcdist.run_dir import RunDir
from tests.catalogue.catalogued_run import catalogued_run
from tests.fixture_types import ShardsAt

viewing = pytest.importorskip("mcdist.workflows.viewing")
pytest.importorskip("fastapi", reason="the extra `view` is not installed")
testclient = pytest.importorskip("starlette.testclient", reason="httpx2 is not installed")


WITHOUT_TORCH = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from mcdist.gallery.pictures import Pictures
from mcdist.run_dir import RunDir
from mcdist.workflows.viewing import make_view
Pictures.warm = lambda self, rows: None
client = TestClient(make_view(RunDir(Path(sys.argv[1])), overrides=[], say=print))
print(client.get("/api/state").status_code, "torch" in sys.modules)
"""


def view(run_dir: RunDir, *, port: int = 0) -> list[str]:
    said: list[str] = []
    viewing.view_run(run_dir, overrides=[], port=port, open_browser=False, say=said.append)
    return said


def test_a_folder_without_a_run_or_without_a_catalogue_is_said_so(tmp_path: Path):
    with pytest.raises(ConfigError, match="expected a run at"):
        view(RunDir(tmp_path))
    RunDir(tmp_path).config.write_text("{}\n")
    with pytest.raises(DataError, match="make it with: mcdist cluster"):
        view(RunDir(tmp_path))


def test_a_port_in_use_is_said_so(tmp_path: Path):
    RunDir(tmp_path).config.write_text("{}\n")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(MachineError, match="is in use.*--port 0"):
            view(RunDir(tmp_path), port=other.getsockname()[1])


@pytest.mark.slow
def test_the_parts_of_a_run_fit_together(tmp_path: Path, shards_at: ShardsAt, monkeypatch: pytest.MonkeyPatch):
    run_dir = catalogued_run(tmp_path, shards_at=shards_at)
    served: list[Any] = []
    monkeypatch.setattr("mcdist.gallery.serve.serve", lambda app, **others: served.append(app))
    assert view(run_dir) == []
    client = testclient.TestClient(served[0])
    state = client.get("/api/state").json()
    assert state["title"] == "run" and state["counts"]["objects"] > 0 and len(state["clusters"]) == 3
    client.post("/api/change", json={"do": "name", "cluster": 0, "name": "cat", "revision": 0})
    assert '"0": "cat"' in run_dir.names.read_text()
    assert client.get("/pictures/objects/0").headers["content-type"] == "image/jpeg"
    assert (run_dir.catalogue / "thumbnails" / "thumbnails.pack").stat().st_size > 0
    assert client.get("/pictures/photos/0").status_code == 200
    photo = client.get("/pictures/photos/0").content
    about = client.post("/api/photos", content=photo).json()
    assert about["width"] == 720
    near = client.get(f"/api/photos/{about['key']}/near", params={"x": 0.5, "y": 0.5}).json()
    assert len(near["near"]) == state["counts"]["objects"]
    answered = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(run_dir.root)], capture_output=True, text=True, timeout=120)
    assert (answered.returncode, answered.stdout) == (0, "200 False\n"), answered.stderr
    served.clear()
    for store in run_dir.features.iterdir():
        store.rename(tmp_path / store.name)
    assert "without outlines" in view(run_dir)[0]
