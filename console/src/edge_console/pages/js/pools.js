// Pools, and the map of one.

import { get } from "./api.js";
import { h, keyed, part } from "./dom.js";
import { bandwidth, bytes, duration, plural, portion } from "./format.js";
import { poolMap } from "./map.js";

export function poolsPage() {
  const list = h("ul", { class: "cards" });
  const note = h("p", { class: "notice", role: "status" }, "Loading…");
  const element = h("div", { class: "page" }, h("h1", {}, "Pools"), note, list);
  const card = (each) =>
    h("li", { class: "panel card" },
      h("h2", {}, h("a", { href: `#/pools/${each.name}` }, each.name)),
      h("p", {}, [each.nodes === null ? null : plural(each.nodes, "node"), plural(each.services, "service"), each.servers.length ? `Triton: ${each.servers.join(", ")}` : null].filter(Boolean).join(" · ")),
      each.ready === "False" ? h("p", { class: "callout bad" }, each.message) : null);

  function draw({ pools }) {
    if (!pools) return;
    note.hidden = pools.size > 0;
    note.textContent = "There is no pool that you may see.";
    keyed(list, [...pools.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), (each) => each.name, card);
  }
  return { title: "Pools", element, draw };
}

const RESOURCES = { Cpu: ["Processors", portion], Memory: ["Memory", bytes], Uplink: ["Uplink", bandwidth], Triton: ["Compute time", portion] };

function resource(each) {
  const [label, unit] = RESOURCES[each.resource];
  const part = each.capacity ? each.used / each.capacity : null;
  // Services of a namespace share memory, so that parts of it belong to no one.
  const users = each.resource === "Memory" ? each.services.map((one) => one.service) : [...each.services.map((one) => `${one.service} ${unit(one.own)}`), each.others > each.used * 0.01 ? `others ${unit(each.others)}` : null].filter(Boolean);
  return h("li", {},
    h("span", {}, label),
    part === null ? h("span", {}) : h("span", { class: `meter ${part > 0.95 ? "bad" : part > 0.8 ? "warn" : "good"}`, "aria-hidden": "true" }, h("i", { style: { width: `${Math.min(100, part * 100)}%` } })),
    h("span", {}, `${unit(each.used)}${each.capacity ? ` of ${unit(each.capacity)}` : ""}`),
    h("span", { class: "muted users" }, users.join(", ")));
}

export function poolPage(name) {
  const heading = h("div", { class: "title" }, h("h1", {}, name));
  const callouts = h("div", { class: "callouts" });
  const choose = h("select", { id: "follow", onchange: () => { map.highlight(choose.value); } });
  const map = poolMap((place) => showPlace(place));
  const detail = h("section", { class: "panel", "aria-live": "polite", hidden: true });
  const links = h("tbody", {});
  const missing = h("p", { class: "notice", role: "status" }, "Loading…");
  const partial = h("p", { class: "muted" }, "Your account cannot list pools and nodes: the map shows the nodes of your own services.");
  const body = h("div", {},
    h("div", { class: "controls" }, h("label", { for: "follow" }, "Follow"), choose),
    callouts, partial, map.element, detail,
    h("section", { class: "panel" }, h("h2", {}, "Links"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Links" },
        h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ["From", "To", "State", "Bandwidth", "Low", "Round trip", "Services"].map((label, index) => h("th", { scope: "col", class: index > 2 ? "number" : "" }, label)))), links))));
  const element = h("div", { class: "page" }, h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: "#/pools" }, "Pools"), " / ", name), heading, missing, body);
  body.hidden = true;
  let now = null;
  let usage = null;
  let shown = null;
  let asked = false;

  async function load() {
    try {
      usage = (await get(`api/pools/${encodeURIComponent(name)}/usage`)).resources || [];
      map.use(usage);
      if (shown) showPlace(shown);
    } catch {
      usage = null; // the map is whole without it
    }
  }

  function showPlace(place) {
    shown = place;
    const runs = now.routes.filter((each) => each.stages.some((stage) => stage.place === place));
    const entries = now.routes.filter((each) => each.entry === place);
    detail.hidden = false;
    part(detail, [place, runs, entries, usage], () => [
      h("h2", {}, place),
      usage ? h("ul", { class: "uses" }, usage.filter((each) => each.place === place).map(resource)) : null,
      h("h3", {}, `Stages of ${plural(new Set(runs.map((each) => each.service)).size, "service")}`),
      runs.length
        ? h("ul", { class: "stages" }, runs.map((each) => {
            const stage = each.stages.find((one) => one.place === place);
            const [namespace, service] = each.service.split("/");
            return h("li", {}, h("a", { href: `#/services/${namespace}/${service}` }, each.service), h("span", { class: "muted" }, ` ${each.route}, from ${each.entry}${stage.seconds === null ? "" : `, ${duration(stage.seconds)}`}`));
          }))
        : h("p", { class: "muted" }, entries.length ? "Takes requests; its routes run elsewhere." : "Runs no stage of a service that you see."),
    ]);
  }

  function draw(values, viewer) {
    now = values.pool;
    if (now === undefined) return;
    body.hidden = now === null;
    missing.hidden = now !== null;
    if (now === null) {
      missing.textContent = `There is no pool ${name} that you may see.`;
      return;
    }
    part(callouts, now.conditions, (all) => all.filter((one) => one.message && one.status === (one.type === "ControlOpen" ? "True" : "False")).map((one) => h("p", { class: "callout bad" }, h("strong", {}, `${one.type} is ${one.status}: `), one.message)));
    partial.hidden = now.complete;
    const names = [...new Set(now.routes.map((each) => each.service))].sort();
    part(choose, names, () => [h("option", { value: "" }, `All ${plural(names.length, "service")}`), ...names.map((each) => h("option", { value: each }, each))]);
    map.draw(now, choose.value);
    part(links, now.links, (all) => all.map((each) =>
      h("tr", {}, h("th", { scope: "row" }, each.from), h("td", {}, each.peer), h("td", { class: each.state === "Down" ? "text-bad" : "" }, each.state || "not measured"), h("td", { class: "number" }, bandwidth(each.bandwidth)), h("td", { class: "number" }, bandwidth(each.low)), h("td", { class: "number" }, duration(each.roundTrip)), h("td", { class: "number" }, String(each.services.length)))));
    if (shown) showPlace(shown);
    if (!asked && viewer.pools) {
      asked = true;
      load();
    }
  }

  return { title: name, element, draw, close: map.close };
}
