"""A machine of the testbed starts the systemd units that are installed on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from testbed.processes import SUPERVISOR, DaemonSpec
from testbed.units import daemons

UNIT = """# Installed by someone
[Service]
Type=exec
ExecStart=/opt/program --name "a b" --share 10%%
Restart=on-failure
Environment=PYTHONUNBUFFERED=1

[Install]
WantedBy=multi-user.target
"""


def install(folder: Path, name: str, text: str = UNIT, *, enable: bool = True) -> None:
    (folder / f"{name}.service").write_text(text)
    if enable:
        (folder / "multi-user.target.wants").mkdir(exist_ok=True)
        (folder / "multi-user.target.wants" / f"{name}.service").symlink_to(f"../{name}.service")


def test_an_enabled_unit_is_started_with_its_words_and_variables(tmp_path: Path) -> None:
    install(tmp_path, "edge-runtime")
    assert daemons(tmp_path, "edge-a") == [
        DaemonSpec(
            "edge-runtime-edge-a",
            ["/opt/program", "--name", "a b", "--share", "10%"],
            env={"PYTHONUNBUFFERED": "1"},
            once=True,
        )
    ]


def test_a_unit_that_always_restarts_is_started_again_after_each_end(tmp_path: Path) -> None:
    install(tmp_path, "digits", UNIT.replace("on-failure", "always"))
    assert [each.once for each in daemons(tmp_path, "edge-a")] == [False]


def test_units_that_are_not_enabled_or_gone_are_not_started(tmp_path: Path) -> None:
    install(tmp_path, "disabled", enable=False)
    install(tmp_path, "gone")
    (tmp_path / "gone.service").unlink()
    assert daemons(tmp_path, "edge-a") == []
    assert daemons(tmp_path / "nowhere", "edge-a") == []


def test_a_program_that_may_end_is_started_again_only_after_it_failed(tmp_path: Path) -> None:
    """Runs the supervisor's loop on two programs that note each start."""
    script = (
        "import importlib.util, json, sys, time\n"
        "spec = importlib.util.spec_from_file_location('supervisor', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "module.BACKOFF_SECONDS = (0.01,)\n"
        "daemons = [module.Daemon(each) for each in json.loads(sys.argv[2])]\n"
        "while daemons[1].starts < 3:\n"
        "    module.reap_all(daemons, time.monotonic())\n"
        "    [each.start_if_due(time.monotonic()) for each in daemons]\n"
        "    time.sleep(0.01)\n"
        "print([each.starts for each in daemons])\n"
    )
    specs = [
        {"name": name, "argv": ["/bin/sh", "-c", f"exit {code}"], "log": str(tmp_path / "log"), "once": True}
        for name, code in (("ends", 0), ("fails", 1))
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, str(SUPERVISOR), json.dumps(specs)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[1, 3]\n"
