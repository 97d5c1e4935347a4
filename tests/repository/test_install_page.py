"""How the commands of the installation page are typed; `tests/k3s` types them on a cluster."""

from pathlib import Path

from benchmarks.experience.install_page import (
    ANSWERS,
    INSTALLS,
    PAGE,
    Block,
    blocks,
    constraints,
    install_to_answer,
)

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_installs_then_sends_a_request_and_ends_with_the_removal() -> None:
    texts = blocks((ROOT / PAGE).read_text(encoding="utf-8"))
    installing, answering, removing = (
        next(place for place, text in enumerate(texts) if command in text)
        for command in (INSTALLS, ANSWERS, "helm uninstall ")
    )
    assert installing < answering < removing == len(texts) - 1


def test_the_time_begins_with_the_block_that_installs_and_ends_with_the_response() -> None:
    typed = [
        Block("pip install x\n", "", 0, 60),
        Block(f"{INSTALLS}x\n", "", 60, 75),
        Block("kubectl apply\n", "", 75, 76),
        Block(f"{ANSWERS}x\n", "", 76, 80),
        Block("helm uninstall x\n", "", 80, 100),
    ]
    assert install_to_answer(typed) == 20


def test_versions_of_a_lock_file_are_kept_and_its_hashes_left_out() -> None:
    hashed = " \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    lock = f'a==1.0{hashed}b==2 ; python_version >= "3.12"{hashed}'
    assert constraints(lock) == 'a==1.0\nb==2 ; python_version >= "3.12"\n'
