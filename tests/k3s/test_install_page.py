"""The installation page, typed word for word: from a checkout to a response, and back to nothing."""

from pathlib import Path

from benchmarks.experience import install_page
from k3s_site import EDGE, NAMESPACE, ROOT, Site


def test_the_installation_page_leads_from_a_checkout_to_a_response_and_back(
    site: Site, tmp_path: Path
) -> None:
    assert EDGE in install_page.NODES
    install_page.without_class(site.bed)
    outputs = {}
    try:
        for block in install_page.typed(site.bed, ROOT, tmp_path):
            print(f"{block.ended - block.began:.1f} s: {block.text}{block.output[-2000:]}")
            outputs[block.text] = block.output
    finally:
        class_ = f"{install_page.CLASS_LABEL}={EDGE.device_class}"
        site.bed.kubectl("label", "node", EDGE.name, class_, "--overwrite")
        if "helm uninstall" not in "".join(outputs):
            print(site.state())
            site.clear()
    said = next(output for text, output in outputs.items() if install_page.ANSWERS in text)
    assert "answered in" in said
    assert "exit exit" in said
    tested = next(output for text, output in outputs.items() if "helm test" in text)
    assert "Phase:          Succeeded" in tested
    assert site.uids() == {}, "nothing is left"
    assert NAMESPACE not in site.bed.kubectl("get", "namespaces", "-o", "name")
