// Charts as SVG, each with its content as text.

import { h, s } from "./dom.js";
import { bandwidth, clock, duration, percent, plural } from "./format.js";

/** Attainment in twelve parts of the last hour: a bar each, red below the objective. */
export function sparkline(shares, objective) {
  if (!shares.some((each) => each !== null)) return h("span", { class: "muted" }, "no requests");
  const low = shares.filter((each) => each !== null && each < objective).length;
  const bottom = Math.min(0.9, ...shares.filter((each) => each !== null)) - 0.02;
  const bars = shares.map((each, index) => {
    const height = each === null ? 1 : 3 + 17 * Math.max(0, (each - bottom) / (1 - bottom));
    const tone = each === null ? "none" : each < objective ? "bad" : "good";
    return s("rect", { class: tone, x: index * 8, y: 20 - height, width: 6, height, rx: 1 });
  });
  return s("svg", { class: "sparkline", viewBox: "0 0 94 20", width: 94, height: 20, role: "img", "aria-label": low ? `Below the objective in ${low} of 12 parts of the last hour` : "Not below the objective in the last hour" }, bars);
}

/** Requests and attainment of the last hour, with the objective as a line. room: pixels for it. */
export function hourChart(cells, objective, room) {
  if (!cells.length) return h("p", { class: "muted" }, "No requests were counted yet.");
  const [width, height, left, foot] = [Math.max(300, room - 44), 190, 50, 34];
  const begin = cells[cells.length - 1].to - 3600;
  const x = (at) => left + ((at - begin) / 3600) * (width - left - 8);
  const shares = cells.filter((each) => each.requests).map((each) => each.met / each.requests);
  const bottom = Math.max(0, Math.floor(Math.min(0.9, objective - 0.05, ...shares) * 20) / 20);
  const plot = height - foot - 10;
  const y = (share) => 10 + (1 - (share - bottom) / (1 - bottom)) * plot;
  const most = Math.max(...cells.map((each) => each.requests / Math.max(each.to - each.from, 1)));
  const marks = [bottom, (1 + bottom) / 2, 1].map((share) => [
    s("line", { class: "grid", x1: left, x2: width - 8, y1: y(share), y2: y(share) }),
    s("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, percent(share)),
  ]);
  const rate = cells.map((each) => {
    const tall = (plot * 0.3 * each.requests) / Math.max(each.to - each.from, 1) / (most || 1);
    return s("rect", { class: "requests", x: x(each.from), y: height - foot - tall, width: Math.max(x(each.to) - x(each.from) - 1, 1), height: tall });
  });
  const steps = cells.filter((each) => each.requests).map((each) => {
    const share = each.met / each.requests;
    return s("line", { class: share < objective ? "step bad" : "step good", x1: x(each.from) + 1, x2: Math.max(x(each.to) - 1, x(each.from) + 2), y1: y(share), y2: y(share) });
  });
  const times = (width < 560 ? [0, 30, 60] : [0, 15, 30, 45, 60]).map((minute) => s("text", { x: x(begin + minute * 60), y: height - 12, "text-anchor": minute === 60 ? "end" : minute ? "middle" : "start" }, clock(begin + minute * 60)));
  const total = cells.reduce((sum, each) => sum + each.requests, 0);
  const met = cells.reduce((sum, each) => sum + each.met, 0);
  return h(
    "figure",
    { class: "chart" },
    s(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${plural(total, "request")} in the last hour, ${percent(total ? met / total : null)} in time` },
      marks, rate, steps,
      s("line", { class: "objective", x1: left, x2: width - 8, y1: y(objective), y2: y(objective) }),
      s("text", { class: "objective-text", x: width - 10, y: y(objective) - 5, "text-anchor": "end" }, `objective ${percent(objective)}`),
      times,
    ),
    h("figcaption", { class: "legend" }, h("span", { class: "key step-key" }, "share of requests in time"), h("span", { class: "key requests-key" }, "requests per second"), h("span", { class: "muted" }, `${plural(total, "request")}, ${percent(total ? met / total : null)} in time`)),
  );
}

const LOWEST = 1e5;
const HIGHEST = 1e9;
const logged = (bits) => Math.min(1, Math.max(0, Math.log(Math.max(bits, 1) / LOWEST) / Math.log(HIGHEST / LOWEST)));

/** The routes of a table over bandwidth, with the present bandwidth as a mark. */
export function bandwidthAxis(routes, link, active) {
  const sorted = [...routes].sort((a, b) => a.minBandwidth - b.minBandwidth);
  // Of the routes that need no bandwidth, the first one is used.
  const bands = sorted.filter((each, index) => each.minBandwidth > 0 || index === 0);
  const ends = bands.map((each, index) => [each, each.minBandwidth ? logged(each.minBandwidth) : 0, index + 1 < bands.length ? logged(bands[index + 1].minBandwidth) : 1]);
  const strips = ends.filter(([, from, to]) => to > from).map(([each, from, to], index) =>
    h(
      "span",
      { class: `band band-${index % 4}${each.name === active ? " active" : ""}`, style: { left: `${from * 100}%`, width: `${(to - from) * 100}%` }, title: `${each.name} from ${bandwidth(each.minBandwidth)}` },
      h("b", {}, each.name),
    ),
  );
  const up = link && link.bandwidth !== null && link.state !== "Down";
  const mark = up ? [h("span", { class: "mark", style: { left: `${logged(link.bandwidth) * 100}%` } })] : [];
  const ticks = [1e5, 1e6, 1e7, 1e8, 1e9].map((bits) => h("span", { style: { left: `${logged(bits) * 100}%` } }, bandwidth(bits).replace("bit/s", "")));
  return h(
    "div",
    { class: "axis", role: "img", "aria-label": `Routes by bandwidth${up ? `; measured now: ${bandwidth(link.bandwidth)}` : ""}` },
    h("div", { class: "bands" }, strips, mark),
    h("div", { class: "ticks" }, ticks),
  );
}

/** p95 and bandwidth of an entry node by minute. */
export function samplesChart(samples, latency) {
  const known = samples.filter((each) => each.p95 !== null || each.bandwidth !== null);
  if (known.length < 2) return null;
  const [width, height] = [340, 64];
  const end = samples[samples.length - 1].at;
  const x = (at) => ((at - (end - 3600)) / 3600) * width;
  const line = (field, top) => {
    const points = known.filter((each) => each[field] !== null).map((each) => `${x(each.at).toFixed(1)},${(height - 4 - (height - 10) * Math.min(1, each[field] / top)).toFixed(1)}`);
    return s("polyline", { points: points.join(" ") });
  };
  const one = (field, top, label, last, limit) =>
    h(
      "figure",
      { class: "mini" },
      h("figcaption", {}, label, " ", h("strong", {}, last)),
      s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label} in the last hour, now ${last}`, preserveAspectRatio: "none" },
        limit ? s("line", { class: "objective", x1: 0, x2: width, y1: height - 4 - (height - 10) * Math.min(1, limit / top), y2: height - 4 - (height - 10) * Math.min(1, limit / top) }) : null,
        line(field, top)),
    );
  const now = known[known.length - 1];
  const slowest = Math.max(latency * 1.2, ...known.map((each) => each.p95 ?? 0));
  const fastest = Math.max(1, ...known.map((each) => each.bandwidth ?? 0)) * 1.1;
  return h("div", { class: "minis" }, one("p95", slowest, "p95", duration(now.p95), latency), one("bandwidth", fastest, "Bandwidth", bandwidth(now.bandwidth)));
}
