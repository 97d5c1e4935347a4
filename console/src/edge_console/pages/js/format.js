// Numbers as people read them.

const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const three = (value) => trim(value.toPrecision(3).includes("e") ? String(Math.round(value)) : value.toPrecision(3));

export const NONE = "–";

/** Seconds as ms or s. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.001) return `${three(seconds * 1e6)} µs`;
  return seconds < 1 ? `${three(seconds * 1000)} ms` : seconds < 120 ? `${three(seconds)} s` : `${three(seconds / 60)} min`;
}

/** Bits per second. */
export function bandwidth(bits) {
  if (bits === null || bits === undefined) return NONE;
  const [size, unit] = bits >= 1e9 ? [1e9, "Gbit/s"] : bits >= 1e6 ? [1e6, "Mbit/s"] : bits >= 1e3 ? [1e3, "kbit/s"] : [1, "bit/s"];
  return `${three(bits / size)} ${unit}`;
}

export function bytes(count) {
  if (count === null || count === undefined) return NONE;
  const [size, unit] = count >= 2 ** 30 ? [2 ** 30, "GiB"] : count >= 2 ** 20 ? [2 ** 20, "MiB"] : count >= 1024 ? [1024, "KiB"] : [1, "B"];
  return `${three(count / size)} ${unit}`;
}

/** A share from 0 to 1 in percent, rounded down, so that less than an objective never reads as if it met it. */
export function percent(share) {
  if (share === null || share === undefined) return NONE;
  const missing = 1 - share;
  const digits = missing > 0 && missing < 0.01 ? 2 : missing < 0.1 ? 1 : 0;
  return `${trim((Math.floor(share * 100 * 10 ** digits + 1e-6) / 10 ** digits).toFixed(digits))} %`;
}

/** A share of a resource in percent, with two significant digits. */
export const portion = (share) => (share ? `${trim((share * 100).toPrecision(2).includes("e") ? (share * 100).toFixed(0) : (share * 100).toPrecision(2))} %` : "0 %");

export const times = (rate) => (rate === null || rate === undefined ? NONE : `${rate >= 10 ? Math.round(rate) : trim(rate.toFixed(1))}×`);
export const accuracy = (share) => (share === null || share === undefined ? NONE : trim((share * 100).toFixed(1)) + " %");
export const whole = (count) => (count === null || count === undefined ? NONE : count.toLocaleString("en-US"));

export function clock(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}

export const plural = (count, one, many) => `${whole(count)} ${count === 1 ? one : many || `${one}s`}`;
