// Why this cut: what each alternative lost by, from the operator's own plan.

import { h } from "./dom.js";
import { accuracy, bandwidth, bytes, duration, portion } from "./format.js";

const SHOWN = 8;
const seconds = (text) => {
  const units = { ns: 1e-9, "µs": 1e-6, us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };
  return text === undefined || text === null ? null : [...String(text).matchAll(/([\d.]+)(ns|µs|us|ms|s|m|h)/g)].reduce((sum, [, number, unit]) => sum + Number(number) * units[unit], 0);
};
const bits = (text) => {
  const found = text === undefined || text === null ? null : /^([\d.]+)([kMG]?)$/.exec(String(text));
  return found ? Number(found[1]) * { "": 1, k: 1e3, M: 1e6, G: 1e9 }[found[2]] : null;
};
export const read = { seconds, bits };

const from = (text) => (text === undefined || text === null ? "never" : bits(text) === 0 ? "always" : bandwidth(bits(text)));

function use(each) {
  const [name, unit] = { Cpu: ["Processors of", portion], Memory: ["Memory of", bytes], Uplink: ["Uplink of", bandwidth], Triton: ["Triton server", portion] }[each.resource];
  const part = each.capacity ? each.total / each.capacity : null;
  return h(
    "li",
    {},
    h("span", {}, `${name} ${each.place}`),
    part === null ? h("span", {}) : h("span", { class: `meter ${part > 0.95 ? "bad" : part > 0.8 ? "warn" : "good"}`, "aria-hidden": "true" }, h("i", { style: { width: `${Math.min(100, part * 100)}%` } }), h("b", { style: { width: `${Math.min(100, (each.own / each.capacity) * 100)}%` } })),
    h("span", { class: "muted" }, `${unit(each.own)} here, ${unit(each.total)} by all services${each.capacity ? `, of ${unit(each.capacity)}` : ""}`),
  );
}

function entry(each) {
  const now = bits(each.bandwidth);
  const used = each.routes.find((route) => bits(route.minBandwidth) <= now) || each.routes[each.routes.length - 1];
  const weighed = used && each.weighed.find((one) => one.name === used.name);
  const best = each.weighed.find((one) => one.reason === undefined || one.reason === null);
  const lost = best && used && best.name !== used.name && each.rejected.find((one) => one.name === best.name);
  const rejected = [...each.rejected].sort((a, b) => (a.meetsFrom === undefined) - (b.meetsFrom === undefined) || b.accuracy - a.accuracy);
  const rows = rejected.map((one, index) =>
    h("tr", { hidden: index >= SHOWN }, h("th", { scope: "row" }, one.name), h("td", { class: "number" }, accuracy(one.accuracy)), h("td", { class: "number" }, from(one.meetsFrom)), h("td", { class: "reason" }, one.reason)));
  const all = h("button", { type: "button", class: "quiet", onclick: () => { for (const row of rows) row.hidden = false; all.remove(); } }, `Show all ${rejected.length}`);
  const at = bandwidth(now);
  return h(
    "div",
    {},
    h("p", { class: "lead" },
      used ? ["At ", h("strong", {}, at), each.measured ? " (measured) " : " (assumed, not measured yet) ", "the plan uses ", h("strong", {}, used.name), `: accuracy ${accuracy(used.accuracy)}, ${duration(seconds(weighed ? weighed.latency : used.predictedLatency))}`, weighed ? `, ${weighed.where}.` : "."] : `There is no route table at ${at}.`),
    lost ? h("p", { class: "muted" }, `${best.name} would take ${duration(seconds(best.latency))} there, but it ${lost.reason}.`) : null,
    each.shortage ? h("p", { class: "callout bad" }, each.shortage) : null,
    each.limits.map((limit) => h("p", { class: "callout" }, limit)),
    each.remedies.length ? h("div", {}, h("h3", {}, `What would meet the SLO at ${at}`), h("ul", {}, each.remedies.map((one) => h("li", {}, one)))) : null,
    each.uses.length ? h("div", {}, h("h3", {}, "What the route table uses"), h("ul", { class: "uses" }, each.uses.map(use))) : null,
    rejected.length
      ? h("div", {},
          h("h3", {}, "What was not chosen, and what it lost by"),
          h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Rejected candidates at ${each.node}` },
            h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Candidate"), h("th", { scope: "col", class: "number" }, "Accuracy"), h("th", { scope: "col", class: "number" }, "Meets SLO from"), h("th", { scope: "col" }, "Why not"))), h("tbody", {}, rows))),
          rejected.length > SHOWN ? all : null)
      : null,
  );
}

export function why(fetchIt) {
  const tabs = h("div", { class: "chips small", role: "group", "aria-label": "Entry node" });
  const body = h("div", { "aria-live": "polite" }, h("p", { class: "muted" }, "Planning…"));
  const notes = h("ul", { class: "muted small" });
  const again = h("button", { type: "button", class: "quiet", onclick: () => load() }, "Explain again");
  const element = h("section", { class: "panel" }, h("div", { class: "title" }, h("h2", {}, "Why this cut"), again), tabs, body, notes);
  let node = null;

  function show(found) {
    if (!found.entries.some((each) => each.node === node)) node = found.entries[0].node;
    tabs.replaceChildren(...(found.entries.length < 2 ? [] : found.entries.map((each) => h("button", { type: "button", class: "chip", "aria-pressed": String(each.node === node), onclick: () => { node = each.node; show(found); [...tabs.children].find((tab) => tab.getAttribute("aria-pressed") === "true").focus(); } }, each.node))));
    body.replaceChildren(entry(found.entries.find((each) => each.node === node)));
    notes.replaceChildren(...found.notes.map((note) => h("li", {}, note)));
  }

  async function load() {
    again.disabled = true;
    try {
      const found = await fetchIt();
      if (found.problem) throw new Error(found.problem);
      show(found);
    } catch (error) {
      tabs.replaceChildren();
      notes.replaceChildren();
      body.replaceChildren(h("p", { class: "callout" }, error.message));
    } finally {
      again.disabled = false;
    }
  }
  return { element, load };
}
