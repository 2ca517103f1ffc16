"""Machine code of a shared library, read with objdump: its innermost loops, and what in them works on single lanes of a vector."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SINGLE_LANES = re.compile(r"^v?(cmp\w*s[sd]|u?comis[sd]|max(ss|sd)|min(ss|sd)|pextr[bdqw]|pinsr[bdqw]|extractps|insertps|call\w*)$")
"""Comparisons, choices, extractions and insertions of one lane, and calls."""

SHIFT_OF_EXP2 = re.compile(r"^v?pslld +\$0x17,")
"""Lanes<float>::exp2 moves the exponent into its place: only the loops over candidates do that."""

LINE = re.compile(r"^\s+([0-9a-f]+):\s+(\S.*?)\s*$")
JUMP = re.compile(r"^j\w+ +([0-9a-f]+)\b")


@dataclass(frozen=True)
class Loop:
    """Instructions from a jump's target to the jump back to it."""

    instructions: tuple[str, ...]

    @property
    def takes_exponentials(self) -> bool:
        return any(SHIFT_OF_EXP2.match(instruction) for instruction in self.instructions)

    @property
    def on_single_lanes(self) -> list[str]:
        return [instruction for instruction in self.instructions if SINGLE_LANES.match(instruction.split()[0])]


def innermost_loops(library: Path) -> list[Loop]:
    """The loops of all functions that hold no other loop."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", str(library)], capture_output=True, text=True, check=True).stdout
    return [loop for function in text.split("\n\n") for loop in _loops(_code(function))]


def _code(function: str) -> list[tuple[int, str]]:
    """(address, instruction) of each line of a function."""
    return [(int(line[1], 16), line[2]) for line in map(LINE.match, function.splitlines()) if line]


def _loops(code: list[tuple[int, str]]) -> list[Loop]:
    place = {at: number for number, (at, _) in enumerate(code)}
    ends = [(place[int(jump[1], 16)], number) for number, (_, said) in enumerate(code) if (jump := JUMP.match(said)) and int(jump[1], 16) in place]
    spans = {(first, last) for first, last in ends if first <= last}
    inner = [(first, last) for first, last in spans if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in spans)]
    return [Loop(tuple(said for _, said in code[first : last + 1])) for first, last in sorted(inner)]
