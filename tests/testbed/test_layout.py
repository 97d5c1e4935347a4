import os
import subprocess
from pathlib import Path

import pytest

from messages import mentions
from testbed.errors import BusyError
from testbed.layout import Layout
from testbed.locks import holding


def test_names_follow_from_the_path_and_fit_where_they_are_used(tmp_path: Path) -> None:
    one, other = (Layout.of_checkout(tmp_path / name) for name in ("one", "other"))

    assert one.name == Layout.of_checkout(tmp_path / "x" / ".." / "one").name
    assert one.name != other.name
    assert one.lock != Layout.of_checkout(tmp_path / "other", cache=one.cache).lock
    assert len(one.name) <= 24


def test_a_second_command_gets_the_owner_of_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        holding(lock),
        pytest.raises(BusyError, match=mentions(f"process {os.getpid()}", "wait")),
        holding(lock, 0),
    ):
        pass
    with holding(lock, 0):
        pass


def test_who_inherits_the_lock_holds_it(tmp_path: Path) -> None:
    with holding(tmp_path / "lock") as fd:
        heir = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(fd,))
    with heir:
        with pytest.raises(BusyError), holding(tmp_path / "lock", 0):
            pass
        heir.communicate(timeout=10)
    with holding(tmp_path / "lock", 0):
        pass
