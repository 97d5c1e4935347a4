"""Programs that only the project's tests need; installed if possible.

`python -m testbed.client_programs` exits with 1 and a message if that is not possible.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from testbed.errors import MachineUnfitError
from testbed.prerequisites import debian, install, missing_packages
from testbed.progress import print_line

# Program -> Debian package.
PACKAGES: Final = {"curl": "curl", "javac": "default-jdk-headless", "systemd-analyze": "systemd"}


def refusal(user: int, *, may_apt: bool, missing: list[str]) -> str | None:
    """Returns why the programs cannot be installed, with the fix; None if they can."""
    if missing and not (may_apt and user == 0):
        names = " ".join(missing)
        return f"the tests need {names}, which are installed for root on Debian only: install them"
    return None


def main() -> int:
    """Installs the programs, or prints why it cannot."""
    missing = missing_packages(packages=PACKAGES)
    sentence = refusal(os.geteuid(), may_apt=debian(), missing=missing)
    try:
        if sentence:
            raise MachineUnfitError(sentence)
        if missing:
            install(missing, print_line, "run the tests on a machine that has them")
    except MachineUnfitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
