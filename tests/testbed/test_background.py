from threading import Event

import pytest

from testbed.background import in_background


def test_both_have_ended_when_the_block_is_left() -> None:
    begun, seen = Event(), list[str]()

    def work() -> None:
        begun.wait()
        seen.append("work")

    with in_background(work, begun.set):
        seen.append("block")
        begun.set()
    assert seen == ["block", "work"]


def test_an_interrupted_block_ends_the_work_and_is_still_interrupted() -> None:
    aborted = Event()
    with pytest.raises(KeyboardInterrupt), in_background(aborted.wait, aborted.set):
        raise KeyboardInterrupt
    assert aborted.is_set()


def test_work_that_fails_is_reported_at_the_end_of_the_block() -> None:
    def work() -> None:
        raise ValueError("no room")

    block_ended = False
    with pytest.raises(ValueError, match="no room"), in_background(work, lambda: None):
        block_ended = True
    assert block_ended
