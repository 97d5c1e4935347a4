from demo.phases import CUT, link_label, planned, settled


def test_the_link_goes_down_in_steps_is_cut_and_comes_back() -> None:
    assert [phase.link_bps for phase in planned(8.0)] == [20e6, 4e6, 1e6, 0.25e6, CUT, 20e6]
    assert {phase.seconds for phase in planned(8.0)} == {8.0}


def test_where_links_cannot_be_shaped_one_phase_leaves_them_alone() -> None:
    (phase,) = planned(8.0, shaped=False)
    assert phase.link_bps is None
    assert phase.label == "as it is"


def test_rates_are_shown_as_people_say_them() -> None:
    assert [link_label(phase.link_bps) for phase in planned(1.0)[:5]] == [
        "20 Mbit/s",
        "4 Mbit/s",
        "1 Mbit/s",
        "0.25 Mbit/s",
        "cut",
    ]


def test_what_is_measured_right_after_a_change_is_not_held_against_the_link() -> None:
    assert not settled(1.9)
    assert settled(2.0)
