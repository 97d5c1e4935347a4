// What if: sliders whose values the operator's planner plans with.

import { Refused, post } from "./api.js";
import { h } from "./dom.js";
import { accuracy, bandwidth, duration } from "./format.js";
import { read } from "./why.js";

const STEPS = 200;
const PAUSE_MS = 250;

/** A slider over a logarithmic range. Its first position leaves the value as it is. */
function slider(id, label, low, high, unit, send, changed) {
  const value = () => (Number(input.value) === 0 ? null : low * (high / low) ** ((input.value - 1) / (STEPS - 1)));
  const rounded = () => (value() === null ? null : Number(value().toPrecision(2)));
  const said = h("output", { for: id }, "as it is");
  const input = h("input", { id, type: "range", min: 0, max: STEPS, value: 0, "aria-valuetext": "as it is", oninput: () => { show(); changed(); } });
  const show = () => {
    const text = value() === null ? "as it is" : unit(rounded());
    said.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  return { element: h("div", { class: "slider" }, h("label", { for: id }, label), input, said), text: () => (value() === null ? null : send(rounded())), reset: () => { input.value = 0; show(); } };
}

const outcome = (each) => (each.route ? [h("strong", {}, each.route), h("span", { class: "muted" }, ` ${accuracy(each.accuracy)}, ${each.latency ? duration(read.seconds(each.latency)) : "no link"}`)] : h("span", { class: "text-bad" }, "no route"));
const verdict = (each) => h("span", { class: each.meetsSlo ? "text-good" : "text-bad" }, each.meetsSlo ? "meets the SLO" : "misses the SLO");

function results(found) {
  return [
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Result by entry node" },
      h("table", { class: "plain" },
        h("thead", {}, h("tr", {}, ["Entry node", "Now", "Then", ""].map((label) => (label ? h("th", { scope: "col" }, label) : h("td", {}))))),
        h("tbody", {}, found.entries.map((each) =>
          h("tr", { class: each.before.route === each.after.route ? "" : "active" }, h("th", { scope: "row" }, each.node), h("td", {}, outcome(each.before)), h("td", {}, outcome(each.after)), h("td", {}, verdict(each.after))))))),
    ...found.entries.filter((each) => each.shortage).map((each) => h("p", { class: "callout bad" }, `${each.node}: ${each.shortage}`)),
    ...found.entries.filter((each) => !each.after.meetsSlo && each.nearestFeasibleLatency).slice(0, 1).map((each) => h("p", { class: "muted" }, `The nearest latency that ${each.node} can meet is ${duration(read.seconds(each.nearestFeasibleLatency))}.`)),
    found.notes.length ? h("ul", { class: "muted small" }, found.notes.map((note) => h("li", {}, note))) : null,
  ].filter(Boolean);
}

export function whatIf(path) {
  const said = h("div", { "aria-live": "polite" }, h("p", { class: "muted" }, "Move a slider: the pool is planned as if it were so. Nothing is changed."));
  const sliders = {
    bandwidth: slider("if-bandwidth", "Bandwidth to Triton", 1e5, 1e9, bandwidth, (value) => String(Math.round(value)), () => later()),
    latency: slider("if-latency", "Latency of the SLO", 0.001, 10, duration, (value) => `${Math.round(value * 1e6)}us`, () => later()),
    rate: slider("if-rate", "Requests per second", 0.1, 1000, (value) => `${value} per second`, (value) => value, () => later()),
  };
  const reset = h("button", { type: "button", class: "quiet", onclick: () => { for (const each of Object.values(sliders)) each.reset(); later(); } }, "As it is");
  const element = h("section", { class: "panel" }, h("div", { class: "title" }, h("h2", {}, "What if"), reset), h("div", { class: "sliders" }, Object.values(sliders).map((each) => each.element)), said);
  let timer = 0;
  let running = null;

  function later(wait = PAUSE_MS) {
    clearTimeout(timer);
    timer = setTimeout(ask, wait);
  }

  async function ask() {
    if (running) running.abort();
    running = new AbortController();
    const { signal } = running;
    const question = Object.fromEntries(Object.entries(sliders).map(([name, each]) => [name, each.text()]).filter(([, value]) => value !== null));
    if (!Object.keys(question).length) {
      said.replaceChildren(h("p", { class: "muted" }, "Move a slider: the pool is planned as if it were so. Nothing is changed."));
      return;
    }
    said.setAttribute("aria-busy", "true");
    try {
      const found = await post(path, question, signal);
      said.replaceChildren(...(found.problem ? [h("p", { class: "callout" }, found.problem)] : results(found)));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 429) return later(1000 * error.retryAfter);
      said.replaceChildren(h("p", { class: "callout" }, error.message));
    } finally {
      said.removeAttribute("aria-busy");
    }
  }

  return { element, close: () => { clearTimeout(timer); if (running) running.abort(); } };
}
