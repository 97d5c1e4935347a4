"""Energy of one request at the entry node: computing and sending, without idle power.

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

import numpy as np
import numpy.typing as npt

from edge_planning.costs.classes import DeviceClass
from edge_planning.errors import BadValueError, require

Floats = npt.NDArray[np.float64]
Numbers = float | Floats
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


@dataclass(frozen=True, slots=True, eq=False)
class Energy:
    """Joules of one request (or of many, as arrays)."""

    compute: Floats
    radio: Floats

    @property
    def total(self) -> Floats:
        return self.compute + self.radio


def compute_energy(seconds: Numbers, device_class: DeviceClass) -> Floats:
    """Returns the joules above idle of a compute time; BadValueError if the class's power is unknown."""
    if device_class.active_power is None:
        raise BadValueError(f"device class {device_class.name}: active_power is unknown")
    _check("seconds", seconds)
    return np.asarray(seconds) * device_class.active_power


def radio_energy(size: Numbers, bandwidth: float, radio: Radio) -> Floats:
    """Returns the joules to send `size` bytes at `bandwidth` bit/s: infinite at 0 bit/s, 0 for 0 bytes."""
    _check("size", size)
    _check("bandwidth", bandwidth)
    bits = np.asarray(size, dtype=np.float64) * 8
    if bandwidth == 0:
        return np.where(bits > 0, np.inf, 0.0)
    return bits * (radio.watts_per_bit + radio.base / bandwidth)


def request_energy(
    seconds: Numbers, size: Numbers, bandwidth: float, device_class: DeviceClass, radio: Radio
) -> Energy:
    """Returns the energy of an entry node that computes for `seconds` and then sends `size` bytes."""
    return Energy(compute_energy(seconds, device_class), radio_energy(size, bandwidth, radio))


def _check(name: str, value: Numbers) -> None:
    require(
        bool(np.all(np.isfinite(value)) and np.all(np.asarray(value) >= 0)),
        f"energy: {name} {value} must be finite and >= 0",
    )
