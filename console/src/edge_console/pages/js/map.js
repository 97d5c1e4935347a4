// The map of a pool: places in three columns, links between them, and the route of one service.

import { h, part, s } from "./dom.js";
import { bandwidth, duration, plural } from "./format.js";

const COLUMNS = [["Devices", "Device"], ["Edge nodes", "Edge"], ["Triton servers", "Triton"]];
const LABELED = 12;
const byName = new Intl.Collator("en", { numeric: true });
const LOADS = { Cpu: "CPU", Memory: "memory", Uplink: "uplink", Triton: "time" };

function places(pool) {
  const nodes = pool.nodes.map((each) => ({ ...each, column: each.tier || "Edge" }));
  const servers = pool.servers.map((each) => ({ ...each, column: "Triton", ready: null }));
  return [...nodes, ...servers].sort((a, b) => byName.compare(a.name, b.name));
}

function card(each, pool, choose) {
  const services = new Set(pool.routes.filter((route) => route.stages.some((stage) => stage.place === each.name)).map((route) => route.service)).size;
  const entries = pool.routes.filter((route) => route.entry === each.name).length;
  return h(
    "button",
    { type: "button", class: `place${each.ready === false ? " away" : ""}`, "data-place": each.name, onclick: () => choose(each.name) },
    h("span", { class: "place-name" }, each.name, each.ready === false ? h("span", { class: "text-bad" }, " not ready") : null),
    h("span", { class: "muted" }, [each.deviceClass, each.column === "Triton" ? null : `entry of ${entries}`].filter(Boolean).join(" · ")),
    h("span", { class: "runs" }, services ? `runs stages of ${plural(services, "service")}` : "runs nothing"),
    h("span", { class: "loads", "aria-hidden": "true" }),
  );
}

const extent = (boxes, origin) => ({ top: Math.min(...boxes.map((each) => each.top)) - origin.top, bottom: Math.max(...boxes.map((each) => each.bottom)) - origin.top });

/** The points of a curve from one card to another. A link past the columns between them goes around their cards. */
function curved(a, b, origin, passed, around) {
  const [y1, y2] = [a.top + a.height / 2 - origin.top, b.top + b.height / 2 - origin.top];
  const x1 = a.right - origin.left;
  if (b.left < a.right - 4) {
    const x2 = b.right - origin.left;
    return [[x1, y1], [x1 + 60, y1], [x2 + 60, y2], [x2, y2]];
  }
  const x2 = b.left - origin.left;
  const bend = Math.max(30, (x2 - x1) / 2);
  if (!passed.length) return [[x1, y1], [x1 + bend, y1], [x2 - bend, y2], [x2, y2]];
  const top = Math.min(...passed.map((each) => each.top));
  const bottom = Math.max(...passed.map((each) => each.bottom));
  const above = y1 <= (top + bottom) / 2;
  const by = above ? top - 20 - 20 * around.above++ : bottom + 20 + 20 * around.below++;
  const control = (by - (y1 + y2) / 8) / 0.75;
  return [[x1, y1], [x1 + bend * 0.8, control], [x2 - bend * 0.8, control], [x2, y2]];
}

const middle = (curve) => [0, 1].map((axis) => curve.reduce((sum, point, index) => sum + [1, 3, 3, 1][index] * point[axis], 0) / 8);

function label(each, tone, [x, y]) {
  const text = each.state === "Down" ? "down" : each.bandwidth ? `${bandwidth(each.bandwidth)} · ${duration(each.roundTrip)}` : "not measured";
  const width = text.length * 6.4 + 8;
  return s("g", { class: `link-text ${tone}` }, s("rect", { x: x - width / 2, y: y - 9, width, height: 18, rx: 4 }), s("text", { x, y: y + 4, "text-anchor": "middle" }, text));
}

export function poolMap(choose) {
  const columns = h("div", { class: "map-columns" });
  const drawing = s("svg", { class: "map-links", "aria-hidden": "true" });
  const element = h("section", { class: "map panel", "aria-label": "Map" }, drawing, columns);
  let pool = null;
  let followed = "";
  let usage = [];

  function draw(found, service) {
    pool = found;
    followed = service;
    part(columns, [found.nodes, found.servers, found.routes], () => {
      const all = places(found);
      return COLUMNS.map(([title, name]) => [title, all.filter((each) => each.column === name)])
        .filter(([, each]) => each.length)
        .map(([title, each]) => h("div", { class: "map-column" }, h("h2", {}, title), h("div", { class: "map-cards" }, each.map((one) => card(one, found, choose)))));
    });
    loads();
    connect();
  }

  function loads() {
    for (const each of columns.querySelectorAll("[data-place]")) {
      const own = usage.filter((one) => one.place === each.dataset.place && one.capacity);
      part(each.querySelector(".loads"), own, () => own.map((one) => {
        const share = one.used / one.capacity;
        return h("span", { class: `load ${share > 0.95 ? "bad" : share > 0.8 ? "warn" : "good"}` }, h("span", {}, LOADS[one.resource]), h("span", { class: "meter" }, h("i", { style: { width: `${Math.min(100, share * 100)}%` } })));
      }));
    }
  }

  function connect() {
    if (!pool || !element.isConnected) return;
    const box = element.getBoundingClientRect();
    drawing.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const at = new Map([...columns.querySelectorAll("[data-place]")].map((each) => [each.dataset.place, each.getBoundingClientRect()]));
    const route = new Set();
    const used = new Set();
    for (const each of pool.routes.filter((one) => one.service === followed)) {
      const stops = [each.entry, ...each.stages.map((stage) => stage.place)];
      for (const [index, stop] of stops.entries()) {
        used.add(stop);
        if (index && stops[index - 1] !== stop) route.add(`${stops[index - 1]} ${stop}`);
      }
    }
    for (const each of columns.querySelectorAll("[data-place]")) {
      each.classList.toggle("dim", Boolean(followed) && !used.has(each.dataset.place));
      each.classList.toggle("on", used.has(each.dataset.place));
    }
    const rows = [...columns.children].map((column) => extent([...column.querySelectorAll("[data-place]")].map((each) => each.getBoundingClientRect()), box));
    const inside = new Map([...columns.children].flatMap((column, index) => [...column.querySelectorAll("[data-place]")].map((each) => [each.dataset.place, index])));
    const drawn = pool.links.filter((each) => at.has(each.from) && at.has(each.peer));
    const known = new Set(drawn.map((each) => `${each.from} ${each.peer}`));
    const unknown = [...route].filter((key) => !known.has(key)).map((key) => ({ from: key.split(" ")[0], peer: key.split(" ")[1], state: null, bandwidth: null, roundTrip: null }));
    const around = { above: 0, below: 0 };
    const paths = [];
    const labels = [];
    const height = (place) => at.get(place).top + at.get(place).height / 2 - box.top;
    const inner = (one) => Math.abs(height(one.from) - height(one.peer));
    const shown = [...drawn, ...unknown].filter((one) => at.has(one.from) && at.has(one.peer)).sort((a, b) => inner(a) - inner(b));
    for (const each of shown) {
      const on = route.has(`${each.from} ${each.peer}`);
      const curve = curved(at.get(each.from), at.get(each.peer), box, rows.slice(inside.get(each.from) + 1, inside.get(each.peer)), around);
      const width = each.bandwidth ? Math.min(6, 1 + Math.max(0, Math.log10(each.bandwidth / 1e6))) : 1;
      const tone = each.state === "Down" ? "down" : each.state === "Up" ? "up" : "unknown";
      const [[x1, y1], [x2, y2], [x3, y3], [x4, y4]] = curve;
      paths.push(s("path", { class: `link ${tone}${on ? " on" : followed ? " dim" : ""}`, d: `M${x1} ${y1}C${x2} ${y2} ${x3} ${y3} ${x4} ${y4}`, "stroke-width": on ? Math.max(width, 2.5) : width }));
      if (on || (drawn.length <= LABELED && !followed)) labels.push(label(each, tone, middle(curve)));
    }
    drawing.replaceChildren(...paths.sort((a, b) => a.classList.contains("on") - b.classList.contains("on")), ...labels);
  }

  const resized = new ResizeObserver(() => connect());
  resized.observe(element);
  return {
    element,
    draw,
    use: (found) => { usage = found; loads(); connect(); },
    highlight: (service) => { followed = service; connect(); },
    close: () => resized.disconnect(),
  };
}
