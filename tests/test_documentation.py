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
from mcdist.config.file import load_config
from mcdist.config.keys import as_flat, known_keys
from mcdist.proposals.registry import options_of
from mcdist.run_dir import RunDir
from mcdist.yaml_text import read_yaml

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


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


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(path):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()) if "://" not in link]
    absent = [link for link in links if link and not (path.parent / link).exists()]
    assert not absent


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
    given = {word.partition("=")[0] for words in words_after("mcdist") for before, word in pairwise(words) if "=" in word and before != "--option"}
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
    assert path.name in head or path.stem == "demo"
    assert next(iter(config.evaluate.classes), "background") == "background"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_holds_only_differences_from_the_defaults(path):
    written = {f"{section}.{key}": value for section, keys in read_yaml(path.read_text(), where=str(path)).items() for key, value in keys.items()}
    defaults = as_flat(Config())
    assert not [key for key, value in written.items() if defaults[key] == value]


def test_the_demos_classes_are_those_the_builder_draws():
    from mcdist.building.sources.demo.source import CLASSES

    classes = load_config(ROOT / "configs" / "demo.yaml").evaluate.classes
    assert tuple(classes) == CLASSES
    assert list(classes.values()) == [[index] for index in range(len(CLASSES))]


def test_the_readme_lists_every_file_of_a_run():
    section = (ROOT / "README.md").read_text().partition("## A run, file by file")[2].partition("\n## ")[0]
    listed = {name.rstrip("/") for name in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)}
    run = RunDir(Path())
    assert listed == {getattr(run, name).name for name, value in vars(RunDir).items() if isinstance(value, property)}


def test_the_licence_is_apache():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
