# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lints share: the project's files, and reporting as file:line: message."""
import os
import subprocess
import sys


def root():
    """The tree to look at: the first argument, or the project that this file belongs to."""
    if len(sys.argv) > 1:
        return sys.argv[1]
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def git_files(top):
    # Files not yet added count too: what is about to be committed should be clean.
    out = subprocess.run(["git", "-c", "safe.directory=*", "-C", top, "ls-files", "-z", "-co", "--exclude-standard"],
                         check=True, stdout=subprocess.PIPE).stdout
    return [f.decode() for f in out.split(b"\0") if f]


def files(top, accept):
    names = sorted(set(f for f in git_files(top) if accept(f) and os.path.isfile(os.path.join(top, f))))
    if not names:
        sys.exit("%s: no files to look at in %s" % (os.path.basename(sys.argv[0]), top))
    return names


def is_c(name):
    return name.endswith((".c", ".h"))


def lines(top, name):
    with open(os.path.join(top, name), encoding="utf-8", errors="replace") as f:
        return f.read().splitlines()


class Report:
    def __init__(self):
        self.count = 0

    def add(self, name, line, message):
        self.count += 1
        print("%s:%d: %s" % (name, line, message))

    def finish(self):
        sys.exit(1 if self.count else 0)
