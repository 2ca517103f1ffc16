"""What the documents say is so: links lead somewhere, commands and configurations exist, settings are settings."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from mcdist.cli.main import app
from mcdist.config import Config
from mcdist.config.classes import find_classes
from mcdist.config.file import load_config
from mcdist.config.keys import as_flat, known_keys
from mcdist.proposals.registry import options_of
from mcdist.run_dir import RunDir
from mcdist.yaml_text import read_yaml
from tests.catalogue.catalogued_run import catalogued_run

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted(path for folder in ("configs", "configs/paper") for path in (ROOT / folder).glob("*.yaml") if path.name != "rows.yaml")


def shell_blocks(text: str) -> list[str]:
    """With lines that go on in the next one joined."""
    return [block.replace("\\\n", " ") for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def commands() -> list[list[str]]:
    """Every command in a shell block of a document or in the head of a configuration, in words."""
    lines = [line for path in DOCUMENTS for block in shell_blocks(path.read_text()) for line in block.splitlines()]
    lines += [line.removeprefix("# ").removeprefix("Command").strip() for path in CONFIGS for line in path.read_text().splitlines() if line.startswith("# ")]
    starts = ("mcdist ", "make ", "torchrun ", "python -m shards ", "python -m mcdist ")
    return [shlex.split(line, comments=True) for line in lines if line.startswith(starts)]


def words_after(program: str) -> list[list[str]]:
    """The arguments of every documented call of `program`, which may stand behind `python -m` or `torchrun`."""
    calls = [call[call.index(program) + 1 :] for call in commands() if program in call]
    return [words[: words.index("--")] if "--" in words else words for words in calls]


def command_of(program: str, *, words: list[str]) -> Any:
    """The command that `words` call, from the parser; a subcommand that does not exist raises KeyError with its name."""
    command = typer.main.get_command(app)
    for word in words if program == "mcdist" else [program, *words]:
        if not hasattr(command, "commands"):
            break
        command = command.commands[word]
    return command


def links_of(path: Path) -> list[str]:
    """The relative links of a document's text, pictures included."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) + re.findall(r'(?:href|src)="([^"]+)"', path.read_text()) if "://" not in link]


def anchors_of(path: Path) -> set[str]:
    """What a web view makes of the headings: lower case, no punctuation, a hyphen for each blank."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file_and_to_a_heading_in_it(path):
    wrong = []
    for link in links_of(path):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if path.parent == ROOT / "docs" and target.suffix == ".html":
            target = target.with_suffix(".md")  # of the site's own pages, linked from HTML
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
            wrong.append(link)
    assert not wrong


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys, shards_at):
    """In a folder that has what the text says: runs, one of them with a catalogue, and a photo of any size."""
    from PIL import Image

    from mcdist.build import build_encoder
    from mcdist.disk.checkpoint import save_checkpoint

    (tmp_path / "made").mkdir()
    catalogued = catalogued_run(tmp_path / "made", shards_at=shards_at)
    run = RunDir(tmp_path / "runs" / "demo").create()
    run.config.write_text("model: {backbone: resnet18, num_stages: 3, decoder: linear, weights: none, embedding_dim: 8}\n")
    tensors = {f"query/{name}": tensor for name, tensor in build_encoder(load_config(run.config).model).state_dict().items()}
    save_checkpoint(run.checkpoints / "step_00000001", tensors=tensors, numbers={"step": 1})
    catalogued.root.rename(tmp_path / "runs" / "mine")
    Image.new("RGB", (170, 150), "olive").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)

    gives_back, embeds, contrasts = python_blocks(ROOT / "README.md")
    found: dict[str, Any] = {}
    exec(compile(gives_back, "README.md", "exec"), found)
    assert found["segmented"].instances.shape == (150, 170) and len(found["found"].hits) > 0
    capsys.readouterr()
    exec(compile(embeds, "README.md", "exec"), found)
    assert found["pixels"].shape == (1, 8, 19, 22) and found["is_object"].shape == (1, 1, 19, 22)
    exec(compile(contrasts, "README.md", "exec"), found)
    assert re.fullmatch(r"loss \d\.\d\d, \d+ of 20000 pixels pick their own object\n", capsys.readouterr().out)
    assert found["features"].grad.abs().sum() > 0


def test_prose_is_wrapped():
    """A line of prose has at most 100 columns, so that a diff can be read; tables, code, links and what cannot be broken may be longer."""
    for path in DOCUMENTS:
        text = re.sub(r"^( *)```.*?^ *```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        prose = [line for line in text.splitlines() if not line.startswith("    ") and not line.lstrip().startswith(("|", "#", "<", "`", "!["))]
        assert not [line for line in prose if len(line) > 100], path.name


def test_no_line_begins_with_a_percent_sign():
    """The site would take it for a comment and leave it out, without a warning."""
    assert not [(path.name, line) for path in DOCUMENTS for line in path.read_text().splitlines() if line.lstrip().startswith("%")]


def test_no_document_names_a_machine_or_an_acceptance_list():
    text = "".join(path.read_text() for path in DOCUMENTS)
    assert not re.search(r"\.\./shared|/wor[k]/|\(wanted", text)


def test_the_changelog_has_the_usual_headings_with_unreleased_on_top():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= {"Added", "Changed", "Fixed", "Removed"}


def test_decisions_are_numbered_in_order_and_dated():
    text = (ROOT / "docs" / "decisions.md").read_text()
    entries = re.findall(r"^### (\d+)\. .+\n\n\*(\d{4}-\d\d-\d\d)\.\*", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^### ", text, re.MULTILINE)) > 100
    assert sorted(int(number) for number, _ in entries) == list(range(1, len(entries) + 1))


def test_the_citation_names_the_version_and_the_paper():
    citation = read_yaml((ROOT / "CITATION.cff").read_text(), where="CITATION.cff")
    assert f"version = {citation['version']}\n" in (ROOT / "setup.cfg").read_text()
    assert "2102.06191" in citation["preferred-citation"]["url"]


def test_pictures_stay_small():
    pictures = [path for path in (ROOT / "docs" / "pictures").iterdir() if path.suffix in (".webp", ".svg", ".png")]
    assert {path.name for path in pictures} >= {"method.svg", "panels.webp", "report.webp"}
    assert not [path.name for path in pictures if path.stat().st_size > 200_000]


def test_the_readme_shows_commands():
    assert len(commands()) >= 10


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    in_text = {target for path in DOCUMENTS for target in re.findall(r"`make ([a-z-]+)", path.read_text())}
    named = {word for call in commands() if call[0] == "make" for word in call[1:]} | in_text
    assert named >= {"demo", "test"}
    assert named <= targets


@pytest.mark.parametrize("program", ["mcdist", "shards"])
def test_every_command_that_is_named_exists_with_its_options(program):
    calls = words_after(program)
    assert calls
    for words in calls:
        offered = {option for parameter in command_of(program, words=words).params for option in parameter.opts + parameter.secondary_opts}
        assert {word for word in words if word.startswith("--")} <= offered, words


def test_every_option_of_a_documented_launch_exists():
    options = {name for param in command_of("mcdist", words=["launch"]).params for name in param.opts}
    lines = [words for path in DOCUMENTS for block in shell_blocks(path.read_text()) for words in map(shlex.split, block.splitlines())]
    launches = [words for words in lines if "launch/slurm.py" in words or words[:2] == ["mcdist", "launch"]]
    assert launches
    for words in launches:
        own = words[: words.index("--")] if "--" in words else words
        assert {word for word in own if word.startswith("-")} <= options, words


def test_every_configuration_that_is_named_exists():
    named = {name for path in [*DOCUMENTS, *CONFIGS, ROOT / "Makefile"] for name in re.findall(r"configs/[\w/]+\.yaml", path.read_text())}
    assert {path.relative_to(ROOT).as_posix() for path in CONFIGS} <= named
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_every_setting_in_a_documented_command_is_one():
    others = ("--option", "--transfer")
    given = {word.partition("=")[0] for words in words_after("mcdist") for before, word in pairwise(words) if "=" in word and before not in others}
    assert given
    assert given <= set(known_keys())


def test_every_option_of_a_documented_proposal_method_is_one():
    calls = [words for words in words_after("mcdist") if words[:2] == ["proposals", "make"] and "--option" in words]
    assert calls
    for words in calls:
        given = {word.partition("=")[0] for before, word in pairwise(words) if before == "--option"}
        assert given <= options_of(words[2]).keys(), words


def test_every_setting_the_documents_mention_is_one():
    sections = {key.partition(".")[0] for key in known_keys() if "." in key}
    words = {word for path in DOCUMENTS for word in re.findall(r"`([a-z_]+\.[a-z_]+)(?:=[^`]*)?`", path.read_text())}
    mentioned = {word for word in words if word.partition(".")[0] in sections and not word.endswith((".py", ".md", ".json", ".html", ".yaml", ".toml"))}
    assert mentioned <= set(known_keys())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_loads_and_opens_with_command_expected_score_and_cost(path):
    config = load_config(path)
    head = path.read_text().partition("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert all(f"# {word} " in head for word in ("Command", "Expected", "Cost"))
    assert (path.relative_to(ROOT).as_posix() in head) and ("mcdist demo" in head) == (path.stem == "demo")
    assert next(iter(find_classes(config.evaluate.classes, key="evaluate.classes").ids), "background") == "background"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_holds_only_differences_from_the_defaults(path):
    written = {f"{section}.{key}": value for section, keys in read_yaml(path.read_text(), where=str(path)).items() for key, value in keys.items()}
    defaults = as_flat(Config())
    assert not [key for key, value in written.items() if defaults[key] == value]


def test_the_demos_classes_are_those_the_builder_draws():
    from mcdist.building.sources.demo.source import CLASSES

    classes = find_classes(load_config(ROOT / "configs" / "demo.yaml").evaluate.classes, key="evaluate.classes").ids
    assert tuple(classes) == CLASSES
    assert list(classes.values()) == [[index] for index in range(len(CLASSES))]


@pytest.mark.parametrize(("name", "heading"), [("README.md", "A run, file by file"), ("docs/formats.md", "Run folder")])
def test_readme_and_formats_list_every_file_of_a_run(name, heading):
    section = (ROOT / name).read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    listed = {name.rstrip("/") for name in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)}
    run = RunDir(Path())
    assert listed == {getattr(run, name).name for name, value in vars(RunDir).items() if isinstance(value, property)}


def test_the_licence_is_apache():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_every_addition_of_the_page_on_extending_names_files_that_exist_and_at_most_three_besides_its_own():
    text = (ROOT / "docs" / "extending.md").read_text()
    named = {name for name in re.findall(r"`(mcdist/[\w/.]+)`", text) if "NAME" not in name}
    assert len(named) > 8
    assert not [name for name in named if not (ROOT / name).exists()]
    tables = re.findall(r"^\| file \| change \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert len(tables) >= 5
    assert all(len([row for row in table.splitlines() if "NAME" not in row]) <= 3 for table in tables)


def test_the_names_on_the_page_on_extending_are_in_the_files_that_their_section_names():
    sections = re.split(r"^## ", (ROOT / "docs" / "extending.md").read_text(), flags=re.MULTILINE)[1:]
    missing, num_found = [], 0
    for section in sections:
        files = [ROOT / name for name in re.findall(r"`([\w/]+\.\w+)`", section) if (ROOT / name).is_file()]
        code = set(re.findall(r"\w+", "".join(path.read_text() for path in files)))
        names = set(re.findall(r"`([A-Z]\w*[a-z]\w*|[A-Za-z]+_[A-Za-z_]+|[A-Z]{5,})(?:\(\w*\))?`", section))
        missing += [f"{section.splitlines()[0]}: {name}" for name in sorted(names - code)]
        num_found += len(names & code)
    assert not missing
    assert num_found >= 20


def test_the_readmes_map_names_every_room_and_module_of_the_package_and_no_other():
    section = (ROOT / "README.md").read_text().partition("## The map\n")[2].partition("\n## ")[0]
    lines = section.split("```\n")[3].splitlines()
    named = {name.rstrip("/") for line in lines if line.startswith("  ") for name in re.findall(r"[a-z_]+(?:\.py|/)(?=[ ,])", line)}
    there = {path.name for path in (ROOT / "mcdist").iterdir() if not path.name.startswith("__")}
    inner = {path.name for path in (ROOT / "mcdist").rglob("*") if path.suffix == ".py" or path.is_dir()} | {path.name for path in (ROOT / "configs").iterdir()}
    assert there <= named <= inner
    tops = [line.split("/")[0] for line in lines if not line.startswith(" ")]
    assert [name for name in tops if not (ROOT / name).is_dir()] == []


def test_the_demos_table_in_readme_has_the_scores_of_its_printout():
    """One run, shown twice."""
    text = (ROOT / "README.md").read_text()
    printout = text.partition("It prints (shortened):")[2].partition("report: runs/demo/report.html")[0]
    table = text.partition("### The demo\n")[2].partition("\n### ")[0]
    scores = re.findall(r"│ +(\d+\.\d ± \d+\.\d) │", printout)
    assert len(scores) > 6 and not [score for score in scores if score not in table]
