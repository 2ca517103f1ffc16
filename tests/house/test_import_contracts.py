"""The map cannot drift from the house: the import contracts hold, and they bite."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("mcdist", "shards")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the contracts on the tree at `root`, and on no other: it comes first on the path, and nothing is cached."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(config_filename='setup.cfg', no_cache=True))"
    environment = os.environ | {"PYTHONPATH": str(root), "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)


PLANTED = [
    ("mcdist/ops/planted.py", "mcdist.train", "Imports run down only"),
    ("mcdist/evaluate/planted.py", "mcdist.report", "Imports run down only"),
    ("mcdist/types.py", "mcdist.errors", "Imports run down only"),
    ("mcdist/proposals/classical/planted.py", "mcdist.proposals.folder", "In proposals methods know"),
    ("mcdist/run.py", "mcdist.building", "Imports run down only"),
    ("mcdist/launch/planted.py", "mcdist.building", "Imports run down only"),
    ("mcdist/building/planted.py", "mcdist.cli", "Imports run down only"),
    ("mcdist/data/shards/planted.py", "mcdist.data.readers", "In data the story uses readers"),
    ("mcdist/building/sources/planted.py", "mcdist.building.writers", "In building builds use writers"),
    ("mcdist/evaluate/protocols/planted.py", "mcdist.evaluate.extract", "In evaluate protocols judge stores"),
    ("mcdist/evaluate/protocols/other.py", "mcdist.data", "In evaluate no protocol reads"),
    ("mcdist/store/names.py", "mcdist.store.manifest", "In store a store is read"),
    ("mcdist/groups/graph/nodes.py", "mcdist.groups.cut", "In groups the story uses the stages"),
    ("mcdist/groups/graph/rows.py", "mcdist.groups.graph.nodes", "In groups.graph a graph uses neighbours"),
    ("mcdist/groups/planted.py", "mcdist.evaluate", "Imports run down only"),
    ("mcdist/evaluate/planted.py", "faiss", "faiss lives in"),
    ("mcdist/records/record.py", "shards", "The clone's own folders use mcdist"),
    ("mcdist/train/planted.py", "mcdist.config", "Only build, run and the entry points"),
    ("mcdist/report/planted.py", "faiss", "faiss lives in"),
    ("mcdist/train/planted.py", "mlflow", "mlflow lives in"),
    ("mcdist/train/planted.py", "rich", "rich lives in"),
    ("mcdist/model/planted.py", "submitit", "submitit lives in"),
    ("mcdist/evaluate/planted.py", "deepspeed", "deepspeed lives in"),
    ("mcdist/model/planted.py", "triton", "triton lives in"),
    ("mcdist/data/planted.py", "ffcv", "FFCV files are built and read without ffcv"),
    ("mcdist/proposals/planted.py", "pycocotools", "pycocotools lives in"),
    ("mcdist/model/planted.py", "timm", "timm lives in"),
    ("mcdist/model/norms/planted.py", "mcdist.model.backbones", "In model the encoder uses backbones"),
    ("mcdist/model/backbones/weights.py", "mcdist.model.backbones.registry", "In backbones the registry alone knows"),
    ("mcdist/evaluate/planted.py", "onnxruntime", "onnxruntime lives in"),
    ("mcdist/data/planted.py", "cv2", "cv2 lives in"),
    ("mcdist/gallery/thumbnails.py", "mcdist.gallery.pictures", "In gallery the routes know the parts"),
    ("mcdist/evaluate/planted.py", "fastapi", "fastapi and uvicorn live in"),
    ("mcdist/model/planted.py", "segment_anything", "segment_anything and sam2 live in"),
]
"""(module, what it must not import, the contract that forbids it)"""


@pytest.fixture(scope="module")
def report_of_planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the contracts say of a copy of the tree with every violation planted, and one room the map does not name."""
    root = tmp_path_factory.mktemp("copy")
    for room in ROOMS:
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", root)
    (root / "mcdist" / "helpers.py").write_text("")
    for module, forbidden, _ in PLANTED:
        with (root / module).open("a") as file:
            file.write(f"\nimport {forbidden}\n")
    done = lint_imports(root)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_the_contracts_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("module", "forbidden", "contract"), PLANTED)
def test_a_planted_violation_breaks_its_contract(report_of_planted, module, forbidden, contract):
    importer = module.removesuffix(".py").replace("/", ".")
    assert re.search(rf"^{contract}.* BROKEN", report_of_planted, re.MULTILINE)
    assert re.search(rf"{re.escape(importer)} -> {re.escape(forbidden)}", report_of_planted)


def test_a_room_the_map_does_not_name_breaks_it(report_of_planted):
    assert re.search(r"^- mcdist\.helpers$", report_of_planted, re.MULTILINE), report_of_planted
