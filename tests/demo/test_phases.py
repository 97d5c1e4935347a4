from demo.phases import CUT, LINK_RATES_BPS, SETTLE_SECONDS, link_label, planned, settled


def test_the_link_goes_down_in_steps_is_cut_and_comes_back() -> None:
    assert [phase.link_bps for phase in planned(8.0)] == list(LINK_RATES_BPS)
    assert LINK_RATES_BPS[-2] == CUT
    *down, up = LINK_RATES_BPS
    assert down == sorted(down, reverse=True)
    assert up == LINK_RATES_BPS[0]
    assert {phase.seconds for phase in planned(8.0)} == {8.0}


def test_where_links_cannot_be_shaped_one_phase_leaves_them_alone() -> None:
    (phase,) = planned(8.0, shaped=False)
    assert phase.link_bps is None
    assert phase.label == "as it is"


def test_rates_are_shown_as_people_say_them() -> None:
    assert [link_label(bps) for bps in (20e6, 0.25e6, CUT)] == ["20 Mbit/s", "0.25 Mbit/s", "cut"]


def test_what_is_measured_right_after_a_change_is_not_held_against_the_link() -> None:
    assert not settled(SETTLE_SECONDS - 0.1)
    assert settled(SETTLE_SECONDS)
