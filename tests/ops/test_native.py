"""The compiled library: built once, kept where only its owner can write, and done without where there is no compiler."""

import _ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mcdist.errors import ConfigError
from mcdist.ops import dispatch, mask_contrast, native
from tests.ops.contrast_case import make_case


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A process that has not looked for the library yet, with a cache of its own."""
    monkeypatch.setenv("MCDIST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "FLAGS", tuple("-O0" if flag.startswith("-O") else flag for flag in native.FLAGS))  # compiles several times as fast
    caches = (native._attempt, dispatch._warn_once)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path / "cache"
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def one_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library is one function, for tests of where it is kept: the operators take seconds to compile."""
    (tmp_path / "one.cpp").write_text('extern "C" int mcdist_vector_bytes() { return 16; }\n')
    monkeypatch.setattr(native, "SOURCES", (str(tmp_path / "one.cpp"),))


@pytest.mark.usefixtures("one_function")
def test_the_library_is_built_once_and_then_taken_from_the_cache(forgotten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.vector_bytes() == 16
    built = list(forgotten.iterdir())
    assert [path.suffix for path in built] == [".so"]
    native._attempt.cache_clear()
    monkeypatch.setattr(native, "build_library", lambda *_, **__: pytest.fail("built again"))
    assert native.reason_missing() == ""
    assert stat.S_IMODE(forgotten.stat().st_mode) == 0o700


@pytest.mark.usefixtures("one_function")
def test_a_cache_that_others_can_write_is_not_trusted(forgotten: Path) -> None:
    forgotten.mkdir()
    forgotten.chmod(0o777)
    assert native.cache_folder() is None
    with pytest.warns(RuntimeWarning, match="compiled at each start.*with MCDIST_CACHE_DIR") as caught:
        assert native.reason_missing() == native.reason_missing() == ""
    assert len(caught) == 1
    assert not list(forgotten.iterdir())


@pytest.mark.parametrize("folder", ["/proc/none", "/dev/null/below"])
def test_where_no_cache_folder_can_be_made_nothing_fails(folder: str, forgotten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCDIST_CACHE_DIR", folder)
    monkeypatch.setattr(native, "build_library", lambda sources, *, path: Path(_ctypes.__file__))  # some library: this is not about what is in it
    assert native.cache_folder() is None
    with pytest.warns(RuntimeWarning, match="compiled at each start"):
        assert native.reason_missing() == ""


def test_further_flags_come_last_and_make_a_library_of_their_own(forgotten: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = tmp_path / "said"
    compiler = tmp_path / "c++"
    compiler.write_text(f'#!/bin/sh\necho "$*" > {said}\ntouch "$(echo "$*" | sed "s/.*-o //")"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    plain = native._digest(str(compiler))
    monkeypatch.setenv("MCDIST_CXXFLAGS", "-mno-avx512f -mno-avx2")
    assert native._digest(str(compiler)) != plain
    native.build_library([tmp_path / "a.cpp"], path=tmp_path / "a.so")
    flags = said.read_text().split()
    assert flags.index("-mno-avx512f") > flags.index("-march=native") and flags.index("-mno-avx2") < flags.index(str(tmp_path / "a.cpp"))


def test_without_a_compiler_auto_falls_back_with_one_warning_and_fused_is_refused(forgotten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    case = make_case(90)
    with pytest.warns(RuntimeWarning, match="cannot run on cpu, so slower ones do: no C\\+\\+ compiler found.*install one") as caught:
        first, again = case.run(), case.run()
    assert len(caught) == 1
    assert torch.equal(first[3], again[3])
    torch.testing.assert_close(first[3], case.run(implementation="compact")[3])
    with pytest.raises(ConfigError, match="'fused' cannot run on cpu: no C\\+\\+ compiler found.*or use 'auto' or 'compact'"):
        case.run(implementation="fused")


def test_a_compiler_that_fails_is_named_with_what_it_said(forgotten: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'ops: error: out of luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "broken-c++ could not compile the operators: ops: error: out of luck" in native.reason_missing()
    assert not list(forgotten.iterdir())


def test_flags_that_a_compiler_does_not_know_are_left_out(forgotten: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    picky = tmp_path / "picky-c++"
    picky.write_text('#!/bin/sh\ncase "$*" in *-march=native*|*-fopenmp*) echo "error: unknown flag" >&2; exit 1;; esac\nexec c++ "$@"\n')
    picky.chmod(0o755)
    monkeypatch.setenv("CXX", str(picky))
    case = make_case(91)
    torch.testing.assert_close(case.run(implementation="fused")[3], case.run(implementation="reference")[3])


def test_a_device_without_fused_operators_says_so() -> None:
    features = torch.zeros(1, 2, 1, 1, device="meta")
    instances = torch.zeros(1, 4, 4, dtype=torch.int16, device="meta")
    vectors = torch.zeros(1, 2, device="meta")
    target_of = torch.zeros(1, 1, dtype=torch.int64, device="meta")
    with pytest.raises(ConfigError, match="'fused' cannot run on meta: they are written for cpu and cuda, not for meta"):
        mask_contrast(features, instances, vectors, vectors, temperature=0.5, target_of=target_of, implementation="fused")


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MCDIST_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.cache_folder() == tmp_path / "mcdist"
    assert os.access(tmp_path / "mcdist", os.W_OK)
