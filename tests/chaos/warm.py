"""A warm interpreter: it has imported what every command needs, and forks a child for each command line, which saves the seconds of the imports.

Run as a process of its own; requests and answers are JSON lines. A request is {"commands": [{"argv", "env", "log", "poison"}, ...]}: they are started
together, as the ranks of one run are. The answer {"pids": [...]} comes at once, and {"codes": [...]} when all have ended; a code below zero is a signal.
"""

import atexit
import faulthandler
import gc
import json
import os
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any


def main() -> None:
    """Import, say that it is ready, then serve."""
    import mcdist.cli.shards.build_shards
    import mcdist.passes.extraction
    import mcdist.passes.preparation
    import mcdist.workflows.cataloguing
    import mcdist.workflows.dataset_export
    import mcdist.workflows.evaluation
    import mcdist.workflows.exporting
    import mcdist.workflows.segmenting  # noqa: F401

    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        pids = [_start(command) for command in json.loads(line)["commands"]]
        print(json.dumps({"pids": pids}), flush=True)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        print(json.dumps({"codes": codes}), flush=True)


def _start(command: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for given, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(given, number)
    os.environ.update(command["env"])
    faulthandler.dump_traceback_later(90.0)  # where a process that hangs stood
    if limit := command.get("memory_mib"):
        _limit_memory(limit)
    sys.argv = ["mcdist", *command["argv"]]
    if poison := command.get("poison"):
        from tests.chaos.poison import apply

        apply(poison)
    code = 1
    try:
        if command.get("module"):
            import runpy

            runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
            code = 0
        else:
            from mcdist.__main__ import main as run_command

            run_command()
            code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(BaseException):  # as an interpreter ends, but for freeing what the parent still has
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
        os._exit(code)


def _limit_memory(mib: int) -> None:
    """So many MiB more than the process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
