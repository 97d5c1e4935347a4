// The table of services, worst first.

import { h, keyed } from "./dom.js";
import { NONE, duration, percent, times, whole } from "./format.js";
import { sparkline } from "./charts.js";
import { ORDER, STATES, badge, budgetTone, burnTone } from "./states.js";

const QUIET_MS = 4000;
const low = (value) => (value === null ? Infinity : value);
const byKey = (a, b) => (a.key < b.key ? -1 : 1);

const SORTS = {
  worst: { label: "Worst first", by: (a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (a.budget ?? 1) - (b.budget ?? 1) || (b.burn["1h"] ?? 0) - (a.burn["1h"] ?? 0) || byKey(a, b) },
  name: { label: "Name", by: byKey },
  attainment: { label: "Lowest attainment", by: (a, b) => low(a.attainment) - low(b.attainment) || byKey(a, b) },
  budget: { label: "Least budget left", by: (a, b) => low(a.budget) - low(b.budget) || byKey(a, b) },
  burn: { label: "Fastest burn", by: (a, b) => (b.burn["1h"] ?? -1) - (a.burn["1h"] ?? -1) || byKey(a, b) },
  latency: { label: "Slowest against its SLO", by: (a, b) => (b.p95 ?? 0) / b.latency - (a.p95 ?? 0) / a.latency || byKey(a, b) },
};

const cell = (name, ...children) => h("td", { role: "cell", class: name }, ...children);

function row(each) {
  return h(
    "tr",
    { role: "row", class: `service ${STATES[each.state].tone}` },
    cell("state", badge(each.state)),
    h(
      "th",
      { role: "rowheader", scope: "row", class: "name" },
      h("a", { href: `#/services/${each.namespace}/${each.name}` }, each.name),
      h("span", { class: "muted" }, each.namespace),
    ),
    cell("recent", sparkline(each.recent, each.objective)),
    cell("attainment", h("strong", {}, percent(each.attainment)), h("span", { class: "muted" }, ` of ${percent(each.objective)}`)),
    cell(
      "budget",
      each.budget === null
        ? h("span", { class: "muted" }, NONE)
        : [
            h("span", { class: `meter ${budgetTone(each.budget)}`, "aria-hidden": "true" }, h("i", { style: { width: `${Math.round(each.budget * 100)}%` } })),
            h("span", {}, percent(each.budget)),
          ],
    ),
    cell(`burn text-${burnTone(each.burn["1h"])}`, times(each.burn["1h"])),
    cell("p95", h("strong", { class: each.p95 !== null && each.p95 > each.latency ? "text-bad" : "" }, duration(each.p95)), h("span", { class: "muted" }, ` of ${duration(each.latency)}`)),
    cell("route", each.exit && !["NotReady", "Waiting"].includes(each.state) ? h("span", {}, each.exit, h("span", { class: "muted" }, " at "), each.cut || NONE) : h("span", { class: "muted", title: each.message }, each.reason || NONE)),
    cell("nodes", h("span", { class: each.ready < each.entries ? "text-warn" : "" }, `${each.ready}/${each.entries}`)),
  );
}

const HEADS = [
  ["state", "State"], ["name", "Service"], ["recent", "Last hour"], ["attainment", "Attainment"], ["budget", "Error budget left"],
  ["burn", "Burn (1 h)"], ["p95", "p95 against SLO"], ["route", "Exit and cut"], ["nodes", "Nodes"],
];

export function servicesPage() {
  let wanted = "";
  let state = "";
  let sort = "worst";
  let order = [];
  let settledAt = -Infinity;
  let last = null;

  const search = h("input", { type: "search", id: "search", placeholder: "Name, namespace or pool", oninput: () => { wanted = search.value.trim().toLowerCase(); again(); } });
  const sorts = h("select", { id: "sort", onchange: () => { sort = sorts.value; again(); } }, Object.entries(SORTS).map(([name, each]) => h("option", { value: name }, each.label)));
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Filter by state" });
  const body = h("tbody", { role: "rowgroup" });
  const table = h(
    "table",
    { role: "table", class: "services", "aria-label": "Services" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, HEADS.map(([name, label]) => h("th", { role: "columnheader", scope: "col", class: name }, label)))),
    body,
  );
  const note = h("p", { class: "notice", role: "status" });
  const element = h(
    "div",
    { class: "page" },
    h("h1", {}, "Services"),
    chips,
    h("div", { class: "controls" }, h("label", { for: "search" }, "Find"), search, h("label", { for: "sort" }, "Order"), sorts),
    note,
    table,
  );

  function again() {
    settledAt = -Infinity;
    if (last) draw(...last);
  }

  function chip(name, label, count) {
    const pressed = state === name;
    return h(
      "button",
      { type: "button", class: `chip ${name ? STATES[name].tone : ""}`, "aria-pressed": String(pressed), onclick: () => { state = pressed ? "" : name; again(); } },
      h("strong", {}, whole(count)),
      h("span", {}, label),
    );
  }

  function drawChips(all) {
    const counts = Object.fromEntries(ORDER.map((name) => [name, 0]));
    for (const each of all) counts[each.state] += 1;
    const key = JSON.stringify([counts, state]);
    if (chips.madeFrom === key) return;
    chips.madeFrom = key;
    const focused = chips.contains(document.activeElement) ? [...chips.children].indexOf(document.activeElement) : -1;
    chips.replaceChildren(chip("", "All", all.length), ...ORDER.filter((name) => counts[name] || name === state).map((name) => chip(name, STATES[name].label, counts[name])));
    if (focused >= 0 && chips.children[focused]) chips.children[focused].focus();
  }

  function draw(values, viewer) {
    last = [values, viewer];
    if (!values.services) {
      note.textContent = "Loading…";
      return;
    }
    const all = [...values.services.values()];
    drawChips(all);
    const shown = all.filter((each) => (!state || each.state === state) && (!wanted || `${each.key} ${each.pool}`.toLowerCase().includes(wanted)));
    // Rows keep their places for some seconds, and while the pointer or the keyboard is on them.
    const busy = body.matches(":hover") || body.contains(document.activeElement);
    const now = performance.now();
    if (now - settledAt > QUIET_MS && (!busy || settledAt < 0)) {
      order = [...shown].sort(SORTS[sort].by).map((each) => each.key);
      settledAt = now;
    }
    const place = new Map(order.map((key, index) => [key, index]));
    shown.sort((a, b) => (place.get(a.key) ?? Infinity) - (place.get(b.key) ?? Infinity));
    keyed(body, shown, (each) => each.key, row);
    table.hidden = !shown.length;
    note.hidden = Boolean(shown.length);
    if (!shown.length) note.textContent = all.length ? "No service matches." : empty(viewer);
  }

  return { title: "Services", element, draw };
}

const empty = (viewer) =>
  viewer.namespaces.length
    ? "There are no services in your namespaces."
    : "There is no service that you may see. Services appear once your account may list inferenceservices, placements and modelprofiles in their namespace, which the role “view” includes.";
