"""A program that takes jobs as the real ones do: it polls for control files, reads both files, and deletes them.

    python bench/job_reader.py FOLDER RECORD

It runs until its standard input ends and the folder has no control file any more. For each job it writes a line to
RECORD: the name of the control file and the last line of the text, or what is wrong with the job.
"""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path

APART = 0.005
END = "--end of the text--"


def take(folder: Path, name: str) -> str:
    """Read a job and delete it: the line for the record."""
    control = (folder / name).read_bytes().decode("cp1250")
    lines = control.splitlines()
    texts = [line.removeprefix("text=") for line in lines if line.startswith("text=")]
    if len(texts) != 1 or not control.endswith("\r\n") or "[system]" not in lines or "[to]" not in lines:
        return f"{name} BROKEN control file: {control!r}"
    try:
        text = (folder / texts[0]).read_bytes().decode("cp1250")
    except FileNotFoundError:
        return f"{name} BROKEN no data file {texts[0]}"
    words = text.split()
    if END not in text or not words:
        return f"{name} BROKEN data file: {text!r}"
    os.unlink(folder / texts[0])
    os.unlink(folder / name)
    return f"{name} {words[0]}"


def main() -> int:
    """The command line."""
    folder, record = Path(sys.argv[1]), Path(sys.argv[2])
    ending = False
    with record.open("a", buffering=1) as lines:
        while True:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".CTL"))
            for name in names:
                lines.write(take(folder, name) + "\n")
            if not names and ending:
                return 0
            readable, _, _ = select.select([sys.stdin], [], [], APART)
            ending = ending or bool(readable and not sys.stdin.buffer.read1(1))
            if ending:
                time.sleep(APART)


if __name__ == "__main__":
    sys.exit(main())
