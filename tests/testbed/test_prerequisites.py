import pytest

from testbed import client_programs
from testbed.prerequisites import PACKAGES, missing_packages, refusal

INSTEAD = "use an existing cluster instead: set KUBECONFIG and run `make demo CLUSTER=existing`"


def test_what_is_missing_becomes_packages_named_once() -> None:
    assert missing_packages(lambda what: what not in {"containerd", "ctr", "/usr/lib/cni/ptp"}) == [
        "containerd",
        "containernetworking-plugins",
    ]
    assert missing_packages(lambda _: True) == []
    assert missing_packages(lambda _: False) == sorted(set(PACKAGES.values()))


@pytest.mark.parametrize(
    ("platform", "user", "may_apt", "missing", "named"),
    [
        ("darwin", 0, False, [], "darwin"),
        ("linux", 1000, True, [], "as root"),
        ("linux", 0, False, ["buildah", "runc"], "buildah, runc"),
    ],
)
def test_the_error_on_an_unsuitable_machine_names_the_alternative(
    platform: str, user: int, may_apt: bool, missing: list[str], named: str
) -> None:
    message = refusal(platform, user, may_apt=may_apt, missing=missing) or ""
    assert named in message
    assert message.endswith(INSTEAD)


def test_a_machine_that_has_everything_or_may_install_it_is_fit() -> None:
    assert refusal("linux", 0, may_apt=False, missing=[]) is None
    assert refusal("linux", 0, may_apt=True, missing=["buildah"]) is None


def test_programs_of_the_tests_are_installed_or_named() -> None:
    missing = missing_packages(lambda what: what == "curl", client_programs.PACKAGES)
    assert missing == ["default-jdk-headless", "systemd"]
    assert client_programs.refusal(0, may_apt=True, missing=missing) is None
    assert client_programs.refusal(1000, may_apt=False, missing=[]) is None
    for user, may_apt in ((1000, True), (0, False)):
        assert "the tests need default-jdk-headless systemd" in (
            client_programs.refusal(user, may_apt=may_apt, missing=missing) or ""
        )
