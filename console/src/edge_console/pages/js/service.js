// One service: its SLO, the last hour, route tables, why they are so, and what would be.

import { get } from "./api.js";
import { bandwidthAxis, hourChart, samplesChart } from "./charts.js";
import { h, keyed, part } from "./dom.js";
import { NONE, accuracy, bandwidth, duration, percent, plural, times, whole } from "./format.js";
import { badge, budgetTone, burnTone } from "./states.js";
import { whatIf } from "./whatif.js";
import { why } from "./why.js";

const OPEN = 3;

const tile = (label, value, note, tone = "") =>
  h("div", { class: "tile" }, h("dt", {}, label), h("dd", {}, h("strong", { class: tone && `text-${tone}` }, value), note ? h("span", { class: "muted" }, note) : null));

function head(each) {
  const slo = `${duration(each.latency)} at p${each.percentile}, for at least ${percent(each.objective)} of requests`;
  const more = [each.minAccuracy === null ? null : `accuracy of at least ${accuracy(each.minAccuracy)}`, each.mode === "Auto" ? null : `mode ${each.mode}`, each.optimize === "Accuracy" ? null : `optimized for ${each.optimize}`, each.privacy === "Any" ? null : `privacy ${each.privacy}`, each.priority ? `priority ${each.priority}` : null].filter(Boolean);
  return [
    h("div", { class: "title" }, h("h1", {}, each.name), badge(each.state)),
    h("p", { class: "muted" }, `Namespace ${each.namespace}, pool `, h("a", { href: `#/pools/${each.pool}` }, each.pool), `. SLO: ${[slo, ...more].join(", ")}.`),
  ];
}

function trouble(each) {
  const shown = each.conditions.filter((one) => one.message && (["Degraded", "Progressing", "Idle"].includes(one.type) ? one.status === "True" : one.status !== "True"));
  if (!shown.length) return [];
  return shown.map((one) =>
    h("div", { class: `callout ${["Progressing", "Idle"].includes(one.type) || one.status === "Unknown" ? "" : "bad"}` },
      h("p", {}, h("strong", {}, `${one.type} is ${one.status}`), one.reason ? ` (${one.reason})` : "", `: ${one.message}`),
      one.meaning ? h("p", { class: "muted" }, `${one.meaning} ${one.fix}`) : null));
}

function tiles(each) {
  const window = Object.fromEntries(each.windows.map((one) => [one.window, one]));
  const five = window["5m"];
  return [
    tile("Attainment, 5 min", percent(each.attainment), `objective ${percent(each.objective)}`, each.attainment === null ? "" : each.attainment < each.objective ? "bad" : "good"),
    tile("Error budget left, 28 d", percent(each.budget), "", budgetTone(each.budget)),
    tile("Burn rate, 1 h", times(each.burn["1h"]), `5 min ${times(each.burn["5m"])} · 6 h ${times(each.burn["6h"])}`, burnTone(each.burn["1h"])),
    tile("p95, slowest node", duration(each.p95), `SLO ${duration(each.latency)}`, each.p95 !== null && each.p95 > each.latency ? "bad" : ""),
    tile("Requests, 5 min", five ? whole(five.requests) : NONE, five ? `${(five.requests / 300).toFixed(1)} per second` : ""),
    tile("Entry nodes", `${each.ready}/${each.entries}`, "answer requests", each.ready < each.entries ? "warn" : ""),
  ];
}

function routeRow(route, active) {
  const hops = route.stages.map((stage) => (stage.local ? "this node" : stage.place));
  return h(
    "tr",
    { class: route.name === active ? "active" : "" },
    h("th", { scope: "row" }, route.name === active ? h("span", { class: "now" }, "in use") : null, route.name),
    h("td", {}, hops.join(" → ")),
    h("td", { class: "number" }, accuracy(route.accuracy)),
    h("td", { class: "number" }, route.minBandwidth ? bandwidth(route.minBandwidth) : "always"),
    h("td", { class: "number" }, duration(route.latency)),
  );
}

const linkText = (link) => (link === null ? "no link to Triton" : link.state === "Down" ? `${link.peer}: down` : `${link.peer}: ${bandwidth(link.bandwidth)}, ${duration(link.roundTrip)}`);

function nodeCard(each, latency, isOpen) {
  const title = h("summary", {}, h("span", { class: "node-name" }, each.node), h("span", {}, each.active || (each.loaded ? "no requests" : "not loaded")), h("span", { class: each.link && each.link.state === "Down" ? "text-bad" : "muted" }, linkText(each.link)), h("span", { class: each.p95 !== null && each.p95 > latency ? "text-bad" : "muted" }, `p95 ${duration(each.p95)}`));
  return h(
    "details",
    { class: "entry", open: isOpen },
    title,
    each.refusal ? h("p", { class: "callout bad" }, each.refusal) : null,
    each.reason ? h("p", { class: "muted" }, each.reason) : null,
    each.routes.length
      ? [
          bandwidthAxis(each.routes, each.link, each.active),
          h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Route table at ${each.node}` },
            h("table", { class: "plain" },
              h("thead", {}, h("tr", {}, ["Route", "Runs on", "Accuracy", "Used from", "Latency there"].map((label, index) => h("th", { scope: "col", class: index > 1 ? "number" : "" }, label)))),
              h("tbody", {}, each.routes.map((route) => routeRow(route, each.active))))),
        ]
      : h("p", { class: "muted" }, "No route table is published here yet."),
    samplesChart(each.samples, latency),
  );
}

export function servicePage(namespace, name) {
  const heading = h("div", {}, h("h1", {}, name));
  const problems = h("div", { class: "callouts" });
  const facts = h("dl", { class: "tiles" });
  const chart = h("section", { class: "panel" });
  const nodes = h("div", { class: "entries" });
  const count = h("span", { class: "muted" });
  const reasons = why(() => get(`api/services/${namespace}/${name}/explanation`));
  const supposing = whatIf(`api/services/${namespace}/${name}/what-if`);
  const body = h(
    "div",
    {},
    problems, facts, chart,
    h("section", { class: "panel" }, h("div", { class: "title" }, h("h2", {}, "Route tables"), count), nodes),
    reasons.element, supposing.element,
  );
  const missing = h("p", { class: "notice", role: "status" }, "Loading…");
  const element = h("div", { class: "page" }, h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: "#/services" }, "Services"), " / ", namespace), heading, missing, body);
  body.hidden = true;
  let started = false;

  function draw(values) {
    const each = values.service;
    if (each === undefined) return;
    body.hidden = each === null;
    missing.hidden = each !== null;
    if (each === null) {
      missing.textContent = `There is no service ${namespace}/${name} that you may see.`;
      return;
    }
    part(heading, [each.state, each.pool, each.latency, each.percentile, each.objective, each.minAccuracy, each.mode, each.optimize, each.privacy, each.priority], () => head(each));
    part(problems, each.conditions, () => trouble(each));
    part(facts, [each.attainment, each.budget, each.burn, each.p95, each.windows, each.ready, each.entries], () => tiles(each));
    part(chart, [each.history, each.objective, chart.clientWidth], () => [h("h2", {}, "Last hour"), hourChart(each.history, each.objective, chart.clientWidth)]);
    count.textContent = plural(each.nodes.length, "entry node");
    const opened = new Map([...nodes.children].map((card) => [card.dataset.node, card.open]));
    const cards = each.nodes.map((one) => ({ node: one.node, text: JSON.stringify(one), one }));
    const known = nodes.cards || new Map();
    nodes.cards = new Map(cards.map((card) => [card.node, known.get(card.node)?.text === card.text ? known.get(card.node) : card]));
    keyed(nodes, [...nodes.cards.values()], (card) => card.node, (card) => {
      const made = nodeCard(card.one, each.latency, opened.get(card.node) ?? cards.findIndex((one) => one.node === card.node) < OPEN);
      made.dataset.node = card.node;
      return made;
    });
    if (!started) {
      started = true;
      reasons.load();
    }
  }

  return { title: `${namespace}/${name}`, element, draw, close: supposing.close };
}
