import re
from dataclasses import replace

from demo.pages import page
from demo.reports import DemoResult, document
from sharing_results import LISTED, sharing_result


def test_the_page_loads_nothing_from_anywhere(result: DemoResult) -> None:
    text = page(result, document(result))
    outside = re.sub(r"<script\b[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"<script[^>]+src=", text)
    assert not re.search(r"(?:src|href)=|@import|url\(", outside)
    assert "Plotly.newPlot" in text
    assert len(text) > 1_000_000  # contains plotly's script


def test_the_page_has_the_picture_of_the_console_if_one_was_taken(result: DemoResult) -> None:
    assert "The console" not in page(result, document(result))
    with_picture = replace(result, console=b"png")
    assert 'src="data:image/png;base64,cG5n"' in page(with_picture, document(with_picture))


def test_the_comparison_is_above_the_plots_with_the_best_mode_marked(result: DemoResult) -> None:
    text = page(result, document(result))
    assert text.index("<table>") < text.index("Plotly.newPlot")
    assert re.search(r"<tr class=best><td>CloudOnly</td>", text)


def test_what_servers_say_is_not_taken_for_html(result: DemoResult) -> None:
    text = page(result, document(result))
    assert "<b>cloud</b>" not in text


def test_the_page_follows_the_readers_choice_of_light_or_dark(result: DemoResult) -> None:
    assert "prefers-color-scheme: dark" in page(result, document(result))


def test_a_demo_in_which_no_mode_could_run_still_has_a_page(result: DemoResult) -> None:
    empty = DemoResult([], 0.1, 1.0, 0.0, {})
    assert "<!doctype html>" in page(empty, document(empty))


def test_the_page_has_what_each_tenant_got_beside_the_output_of_kubectl(result: DemoResult) -> None:
    whole = replace(result, tenants=sharing_result())
    text = page(whole, document(whole))
    assert "93.8 % while noisy sent 10 times its declared rate" in text
    assert LISTED in text
    assert re.search(r"<tr class=best><td>10x</td><td>quiet</td>", text)
    assert text.count("Plotly.newPlot(") >= page(result, document(result)).count("Plotly.newPlot(") + 1


def test_tenants_that_could_not_start_leave_the_page_as_it_is(result: DemoResult) -> None:
    failed = replace(result, tenants=replace(sharing_result(), phases=(), listed="", error="no memory"))
    assert "Two tenants share edge-b" in page(failed, document(failed))
