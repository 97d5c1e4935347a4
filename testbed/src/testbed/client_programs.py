"""The programs that only the project's tests ask servers with: installed where that is possible.

`python -m testbed.client_programs` ends with 1 and a sentence where it is not.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from testbed.errors import MachineUnfitError
from testbed.prerequisites import debian, install, missing_packages
from testbed.progress import print_line

# Program -> Debian package.
PACKAGES: Final = {"curl": "curl", "javac": "default-jdk-headless"}


def refusal(user: int, may_apt: bool, missing: list[str]) -> str | None:
    """The one sentence that says why the tests cannot have what they need, or None."""
    if missing and not (may_apt and user == 0):
        names = " ".join(missing)
        return f"the tests need {names}, which are installed for root on Debian only: install them"
    return None


def main() -> int:
    """Has the programs, or says why not."""
    missing = missing_packages(packages=PACKAGES)
    sentence = refusal(os.geteuid(), debian(), missing)
    try:
        if sentence:
            raise MachineUnfitError(sentence)
        if missing:
            install(missing, print_line, "run the tests where they are")
    except MachineUnfitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
