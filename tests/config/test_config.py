"""Config: defaults < file < argument, and every mistake is named with its place."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdist.choices import Precision
from mcdist.config import Config
from mcdist.config.checks import check_fields
from mcdist.config.file import dump_config, load_config
from mcdist.config.keys import as_flat, known_keys
from mcdist.config.science import check_same_science, science_differences
from mcdist.errors import ConfigError
from mcdist.run_dir import RunDir
from mcdist.yaml_text import read_yaml


@pytest.fixture
def write(tmp_path: Path):
    def write_config(text: str) -> Path:
        path = tmp_path / "some.yaml"
        path.write_text(text)
        return path

    return write_config


def test_an_empty_file_gives_the_defaults(write):
    assert load_config(write("")) == Config()
    assert load_config(write("# only a comment\n")) == Config()


def test_the_defaults_are_the_papers_settings():
    config = Config()
    assert (config.model.embedding_dim, config.loss.temperature, config.model.bank_size, config.model.momentum) == (32, 0.5, 128, 0.999)
    assert (config.views.size_px, config.views.crop_scale_min, config.views.grey_probability) == (224, 0.2, 0.2)
    assert (config.optim.global_batch, config.optim.lr, config.optim.weight_decay, config.optim.epochs) == (64, 0.004, 1e-4, 60)


def test_a_file_beats_the_defaults_and_an_argument_beats_the_file(write):
    path = write("optim:\n  lr: 0.1\n  epochs: 3\n")
    config = load_config(path, overrides=["optim.lr=0.2", "model.norm=group"])
    assert (config.optim.lr, config.optim.epochs, config.model.norm) == (0.2, 3, "group")


@pytest.mark.parametrize(("written", "numbers"), [("12", (12,)), ("[0, 12, 25]", (0, 12, 25))])
def test_numbers_of_clusters_are_one_or_several(write, written, numbers):
    assert load_config(write(f"evaluate: {{num_clusters: {written}}}")).evaluate.cluster_numbers == numbers


@pytest.mark.parametrize("override", ["evaluate.num_clusters=[]", "evaluate.num_clusters=[3, 3]", "evaluate.num_clusters=[3, -1]", "evaluate.num_clusters=-1"])
def test_numbers_of_clusters_are_different_ones(write, override):
    with pytest.raises(ConfigError, match=r"evaluate.num_clusters must be one or more different numbers >= 0, got"):
        load_config(write(""), overrides=[override])


def test_the_last_argument_wins(write):
    assert load_config(write(""), overrides=["run.seed=1", "run.seed=2"]).run.seed == 2


def test_numbers_may_be_written_without_a_point(write):
    config = load_config(write("optim:\n  lr: 1e-4\n"), overrides=["loss.temperature=1"])
    assert config.optim.lr == 1e-4
    assert config.loss.temperature == 1.0


def test_a_dumped_configuration_loads_to_the_same(write):
    path = write("model:\n  backbone: resnet18\nevaluate:\n  classes:\n    background: [0]\n    cat: [8]\n")
    config = load_config(path)
    again = write(dump_config(config))
    assert load_config(again) == config


@settings(max_examples=15)
@given(lr=st.floats(1e-9, 1e3), seed=st.integers(0, 2**31), batch=st.integers(1, 64))
def test_any_values_in_range_survive_dumping(tmp_path_factory, lr, seed, batch):
    path = tmp_path_factory.mktemp("config") / "some.yaml"
    path.write_text("")
    config = load_config(path, overrides=[f"optim.lr={lr!r}", f"run.seed={seed}", f"optim.global_batch={batch * 8}"])
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_a_dump_writes_every_key_out():
    written = read_yaml(dump_config(Config()), where="dump")
    assert [section for section in written] == [section.name for section in fields(Config)]
    assert {key.partition(".")[0] for key in known_keys()} == set(written)


def test_the_flat_form_has_one_entry_a_known_key():
    assert list(as_flat(Config())) == known_keys()


def test_classes_keep_their_order_and_are_one_value(write):
    config = load_config(write("evaluate:\n  classes:\n    background: [0]\n    dog: [12]\n    cat: [8, 9]\n"))
    assert list(config.evaluate.classes) == ["background", "dog", "cat"]
    assert config.evaluate.classes["cat"] == [8, 9]


def test_an_unknown_key_names_file_line_and_the_nearest_key(write):
    path = write("model:\n  norm: group\noptim:\n  lrr: 0.1\n")
    with pytest.raises(ConfigError, match=r"unknown key 'optim.lrr' in .*some.yaml:4; did you mean 'optim.lr'\? keys: optim.global_batch"):
        load_config(path)


def test_an_unknown_section_is_refused(write):
    with pytest.raises(ConfigError, match=r"unknown key 'optimizer.lr' in .*some.yaml:2"):
        load_config(write("optimizer:\n  lr: 0.1\n"))


def test_an_unknown_argument_is_refused(write):
    with pytest.raises(ConfigError, match=r"unknown key 'run.sed' in the argument 'run.sed=1'; did you mean 'run.seed'"):
        load_config(write(""), overrides=["run.sed=1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.seed=three", "run.seed .* must be a whole number, got 'three'"),
        ("run.seed=1.5", "run.seed .* must be a whole number, got 1.5"),
        ("run.seed=true", "run.seed .* must be a whole number, got True"),
        ("run.deterministic=1", "run.deterministic .* must be true or false, got 1"),
        ("run.dir=3", "run.dir .* must be text, got 3; quote it to make it text: '3'"),
        ("optim.lr=fast", "optim.lr .* must be a number, got 'fast'"),
        ("optim.lr=~", "optim.lr .* must be a number, got nothing"),
        ("report.mlflow=false", "report.mlflow in the argument .* must be one of auto, on, off, got False"),
        ("model.atrous_rates=[12, a]", r"model.atrous_rates .* must be a list of whole numbers, such as \[1, 2\], got \[12, 'a'\]"),
        ("model.atrous_rates=12", "model.atrous_rates .* must be a list of whole numbers"),
        ("evaluate.classes=[1]", "evaluate.classes .* must be a name, a path, or a mapping of names to lists of whole numbers"),
        ("evaluate.classes={cat: 8}", r"evaluate.classes .* must be .* a mapping of names to lists of whole numbers, such as \{cat: \[8\]\}, got \{'cat': 8\}"),
        ("evaluate.classes={cat: [8.5]}", "evaluate.classes .* must be .* a mapping of names to lists of whole numbers"),
        ("run.allow_changes=optim.lr", r"run.allow_changes .* must be a list of names, such as \[optim.lr\], got 'optim.lr'"),
        ("deepspeed=5", "deepspeed .* must be a mapping, got 5"),
        ("model.bank_dtype=fp16", "model.bank_dtype in the argument .* must be one of fp32, bf16, got 'fp16'"),
        ("optim.compile_mode=fast", "optim.compile_mode in the argument .* must be one of default, reduce-overhead, max-autotune, got 'fast'"),
        ("optim.gradient_exchange=ring", "optim.gradient_exchange in the argument .* must be one of auto, allreduce, bf16, powersgd, ordered, got 'ring'"),
        ("optim.engine=horovod", "optim.engine in the argument .* must be one of ddp, deepspeed, got 'horovod'"),
    ],
)
def test_a_wrong_type_is_an_error_and_never_converted(write, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(""), overrides=[override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr=0", "optim.lr must be > 0, got 0"),
        ("views.size_px=0", "views.size_px must be >= 1, got 0"),
        ("optim.layer_decay=0", "optim.layer_decay must be > 0 and <= 1, got 0"),
        ("views.crop_scale_min=0", "0 < min <= max <= 1, got min 0.0 and max 1.0"),
        ("model.num_stages=-1", "model.num_stages must be >= 0, got -1"),
        ("model.momentum=1.5", r"model.momentum must be between 0 and 1, got 1.5"),
        ("optim.compile_mode=reduce-overhead", "optim.compile_mode=reduce-overhead needs optim.compile=true, got false"),
        ("optim.accumulation_steps=3", "optim.global_batch 64 is not divisible by optim.accumulation_steps 3"),
        ("optim.zero_stage=3", "optim.zero_stage must be 0, 1 or 2, got 3: stage 3 shards the parameters too, and the key encoder has to follow all"),
        ("optim.offload_optimizer=true", "optim.offload_optimizer=true needs optim.engine=deepspeed, got ddp"),
        ("deepspeed={steps_per_print: 5}", r"the section deepspeed \(steps_per_print\) needs optim.engine=deepspeed, got ddp"),
        ("data.num_lanes=5", r"data.num_lanes must divide optim.global_batch 64, got 5; use one of \[1, 2, 4, 8"),
        ("optim.lr=1e999", "optim.lr must be a finite number, got inf"),
        ("optim.lr=.nan", "optim.lr must be a finite number, got nan"),
        (f"run.seed={2**64}", r"run.seed must be below 2\^63, got 18446744073709551616"),
        ("optim.epochs=0", "optim.epochs must be >= 1, got 0"),
        ("model.atrous_rates=[]", r"model.atrous_rates must be a list of whole numbers >= 1, got \[\]"),
        ("run.dir=", "run.dir must name a folder, got nothing"),
        ("run.dir=~/x", "run.dir must not begin with ~, which only a shell replaces, got '~/x'; write the home folder out"),
        ("run.dir=${HOME}/x", r"run.dir must not contain '\$\{HOME\}/x', which only a shell replaces; write the path out"),
        ("data.train=$HOME/x", r"data.train must not contain '\$HOME/x', which only a shell replaces"),
        ("data.cache_dir=${TMPDIR}/x", r"data.cache_dir must not contain '\$\{TMPDIR\}/x', .* write \$NAME without braces"),
        ("schema_version=99", "schema_version must be 1, .* got 99"),
    ],
)
def test_a_value_out_of_range_is_refused_and_the_file_named(write, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(""), overrides=[override])
    assert "some.yaml" in str(caught.value)


def test_how_the_bank_is_stored_is_science_and_how_the_encoders_are_compiled_is_not(write):
    path = write("")
    now = load_config(path, overrides=["model.bank_dtype=bf16", "optim.compile=true", "optim.compile_mode=reduce-overhead"])
    assert science_differences(load_config(path), now) == {"model.bank_dtype": "fp32 -> bf16"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.compile=true", "optim.engine=deepspeed needs optim.compile=false"),
        ("optim.gradient_exchange=ordered", "with optim.engine=deepspeed optim.gradient_exchange must be one of auto, allreduce, bf16, got 'ordered'"),
    ],
)
def test_what_deepspeed_cannot_do_is_refused(write, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write("optim: {engine: deepspeed}\n"), overrides=[override])


def test_deepspeeds_own_settings_are_one_value_that_is_written_and_read_back(write, tmp_path):
    config = load_config(write("optim: {engine: deepspeed}\ndeepspeed:\n  zero_optimization: {overlap_comm: true}\n  steps_per_print: 5\n"))
    assert config.deepspeed == {"zero_optimization": {"overlap_comm": True}, "steps_per_print": 5}
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config


def test_recomputing_and_compiling_exclude_each_other(write):
    with pytest.raises(ConfigError, match="model.recompute=true needs optim.compile=false"):
        load_config(write(""), overrides=["model.recompute=true", "optim.compile=true"])


def test_all_blocks_are_all_blocks_however_a_run_wrote_them(write):
    """Runs begun before `model.num_stages` had 0 for all wrote 5, and continue."""
    path = write("")
    before = load_config(path, overrides=["model.num_stages=5"])
    assert science_differences(before, load_config(path)) == {}
    assert science_differences(before, load_config(path, overrides=["model.num_stages=4"])) == {"model.num_stages": "5 -> 4"}


def test_the_engine_is_not_science(write):
    engine = ["optim.engine=deepspeed", "optim.zero_stage=2", "optim.offload_optimizer=true", "deepspeed={steps_per_print: 5}"]
    now = load_config(write(""), overrides=["model.recompute=true", *engine])
    assert science_differences(load_config(write("")), now) == {}


def test_a_micro_batch_beside_accumulation_steps_is_refused(write):
    with pytest.raises(ConfigError, match="optim.micro_batch=8 takes the place of optim.accumulation_steps=2; set one of the two"):
        load_config(write(""), overrides=["optim.accumulation_steps=2", "optim.micro_batch=8"])


def test_an_argument_without_an_equals_sign_is_refused(write):
    with pytest.raises(ConfigError, match="'optim.lr' must have the form section.key=value"):
        load_config(write(""), overrides=["optim.lr"])


def test_a_missing_file_says_where_configurations_are(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*absent.yaml: No such file or directory; .* configs/"):
        load_config(tmp_path / "absent.yaml")


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ConfigError, match="it is not text"):
        load_config(path)


@pytest.mark.parametrize("text", ["model: [", "a: b: c", "\tmodel: 1"])
def test_what_is_not_yaml_is_refused_with_its_line(write, text):
    with pytest.raises(ConfigError, match=r"some.yaml:\d+ is not YAML"):
        load_config(write(text))


def test_a_list_in_place_of_sections_is_refused(write):
    with pytest.raises(ConfigError, match="must hold sections like `model:`, got list"):
        load_config(write("- model\n"))


def test_yaml_that_would_make_objects_is_refused(write):
    with pytest.raises(ConfigError):
        load_config(write("run: !!python/object/apply:os.system ['true']\n"))


def test_reading_the_configuration_imports_no_torch():
    import subprocess
    import sys

    code = "import sys, mcdist.config.science; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_an_environment_variable_is_allowed_where_the_node_replaces_it(write):
    given = ["data.cache_dir=$TMPDIR/cache", "data.stage_to=$SLURM_TMPDIR/shards"]
    assert load_config(write(""), overrides=given).data.stage_to == "$SLURM_TMPDIR/shards"


def test_text_in_an_argument_is_taken_as_typed_and_a_hash_begins_no_comment(write):
    config = load_config(write(""), overrides=["run.dir=runs/try #3", "data.val='quoted #4'", "data.train=2026-11-30"])
    assert (config.run.dir, config.data.val, config.data.train) == ("runs/try #3", "quoted #4", "2026-11-30")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model:\n", "the section model in .*some.yaml:1 must hold settings, got nothing"),
        ("optim:\n  lr: 0.1\nmodel: 3\n", "the section model in .*some.yaml:3 must hold settings, got 3"),
        ("optim:\n  lr: 0.1\n  epochs: 2\n  lr: 0.5\n", "the key 'lr' is written twice, in .*some.yaml:2 and .*some.yaml:4; remove one of the two"),
        ("optim: {lr: 0.1}\nmodel: {norm: group}\noptim: {epochs: 2}\n", "the key 'optim' is written twice, in .*some.yaml:1 and .*some.yaml:3"),
        ("evaluate:\n  classes:\n    cat: [8]\n    cat: [9]\n", "the key 'cat' is written twice, in .*some.yaml:3 and .*some.yaml:4"),
        ("null: 3\n", "unknown key 'null' in .*some.yaml:1"),
        ("~: 3\n", "unknown key '~' in .*some.yaml:1"),
        ("true: 3\n", "unknown key 'true' in .*some.yaml:1"),
        ("optim:\n  1.5: 3\n", "unknown key 'optim.1.5' in .*some.yaml:2"),
        ("optim:\n  0x10: 3\n", "unknown key 'optim.0x10' in .*some.yaml:2"),
        ("2026-11-30: 3\n", "unknown key '2026-11-30' in .*some.yaml:1"),
        ("run: {dir: '${HOME}/x'}\n", "run.dir must not contain .*some.yaml"),
    ],
)
def test_a_slip_in_a_file_is_one_sentence_with_its_line(write, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(text))
    assert "\n" not in str(caught.value)


def test_merge_keys_work_and_the_own_keys_win(write):
    config = load_config(write("optim: &base\n  lr: 0.1\n  epochs: 7\nmodel:\n  <<: {bank_size: 256, momentum: 0.5}\n  momentum: 0.99\n"))
    assert (config.optim.lr, config.model.bank_size, config.model.momentum) == (0.1, 256, 0.99)


def test_two_settings_that_share_an_alias_share_no_list(write):
    classes = load_config(write("evaluate: {classes: {a: &ids [1], b: *ids}}\n")).evaluate.classes
    assert classes == {"a": [1], "b": [1]} and classes["a"] is not classes["b"]


def test_a_configuration_that_an_earlier_mcdist_wrote_is_read(write):
    config = load_config(write("schema_version: 1\noptim:\n  lr: 1.0e-05\nreport:\n  mlflow: 'off'\nevaluate:\n  classes:\n    cat:\n    - 8\n"))
    assert (config.optim.lr, config.report.mlflow, config.evaluate.classes) == (1e-5, "off", {"cat": [8]})


@dataclass
class Chosen:
    precision: Precision = "fp32"
    lr: float = 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Chosen(precision="fp8"), "optim.precision must be one of fp32, bf16, fp16, got 'fp8'"),  # type: ignore[arg-type]
        (Chosen(lr=float("inf")), "optim.lr must be a finite number, got inf"),
    ],
)
def test_a_section_made_in_code_is_checked_like_one_from_a_file(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_fields(settings, section="optim")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("optim.lrr", "unknown key 'optim.lrr' in run.allow_changes; did you mean 'optim.lr'"),
        ("data.train", "run.allow_changes names data.train, which may change at any start; remove it from the list"),
        ("optim.precision", "run.allow_changes names optim.precision, which may change at any start"),
    ],
)
def test_only_science_can_be_allowed_to_change(write, tmp_path, key, message):
    config = load_config(write(""), overrides=[f"run.allow_changes=[{key}]"])
    with pytest.raises(ConfigError, match=message):
        check_same_science(config, RunDir(tmp_path))
