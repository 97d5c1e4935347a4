"""Energy of one request at the entry node, and the radios that it depends on.

It covers computing and sending, without idle power (choosing.candidates computes it):

    compute = active_power * seconds
    radio   = (watts_per_bit * bandwidth + base) * transfer time, transfer time = 8 * bytes / bandwidth

The radio model is that of Huang et al. (A Close Examination of Performance and Power Characteristics of 4G
LTE Networks, MobiSys 2012, Table 4), linear in the throughput. Work on offloading such as Neurosurgeon
(ASPLOS 2017) computes energy in the same way, as power times duration of each part. Excluded: the radio's
tail energy after the transfer, receiving (the response is small), and waiting at idle power.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from edge_planning.errors import require

HUANG = "Huang et al.: A Close Examination of 4G LTE Networks (MobiSys 2012), Table 4"


@dataclass(frozen=True, slots=True)
class Radio:
    """A sending radio: watts per bit/s of throughput, and base watts while it sends."""

    name: str
    watts_per_bit: float
    base: float
    source: str

    def __post_init__(self) -> None:
        for name in ("watts_per_bit", "base"):
            value = getattr(self, name)
            require(
                isfinite(value) and value >= 0, f"radio {self.name}: {name} {value} must be finite and >= 0"
            )


def _radio(name: str, milliwatts_per_megabit: float, milliwatts: float) -> Radio:
    return Radio(name, milliwatts_per_megabit * 1e-9, milliwatts * 1e-3, HUANG)


LTE = _radio("lte", 438.39, 1288.04)
UMTS = _radio("3g", 868.98, 817.88)
WIFI = _radio("wifi", 283.17, 132.86)


RADIOS: Mapping[str, Radio] = {"LTE": LTE, "UMTS": UMTS, "WiFi": WIFI}
"""By the names that manifests use."""
