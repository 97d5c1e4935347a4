// What tenants use of each pool against what they are entitled to.

import { h, part } from "./dom.js";
import { bandwidth, bytes, plural, portion } from "./format.js";

const cores = (amount) => `${Number(amount.toPrecision(3))}`;
const UNITS = { cpu: (amount) => `${cores(amount)} cores`, memory: bytes, uplink: bandwidth, tritonTime: (amount) => `${portion(amount)}`, tritonMemory: bytes };
const KINDS = { cpu: "Processors", memory: "Memory", uplink: "Uplink", tritonTime: "Triton time", tritonMemory: "Triton memory" };

function bar(each) {
  const { nominal, used, borrowed, lent } = each.numbers;
  const whole = Math.max(nominal ?? 0, used ?? 0, 1e-12);
  const width = (amount) => `${(100 * (amount ?? 0)) / whole}%`;
  const said = (name) => (each.numbers[name] === null || !UNITS[each.kind] ? each[name] : UNITS[each.kind](each.numbers[name]));
  const own = Math.max(0, (used ?? 0) - (borrowed ?? 0));
  return h(
    "div",
    { class: "share" },
    h("span", { class: "kind" }, KINDS[each.kind] || each.kind),
    h("span", { class: "share-bar", role: "img", "aria-label": `uses ${said("used")} of ${said("nominal")}; borrowed ${said("borrowed")}, lent ${said("lent")}` },
      h("i", { class: "own", style: { width: width(own) } }),
      h("i", { class: "borrowed", style: { width: width(borrowed) } }),
      h("i", { class: "lent", style: { width: width(Math.min(lent ?? 0, Math.max(0, (nominal ?? 0) - own))) } }),
      h("b", { style: { left: width(nominal) } })),
    h("span", { class: "amount" }, h("strong", {}, said("used")), h("span", { class: "muted" }, `of ${said("nominal")}`)),
  );
}

function pool(each) {
  return h(
    "div",
    { class: "tenant-pool" },
    h("h3", {}, h("a", { href: `#/pools/${each.name}` }, each.name), h("span", { class: "muted" }, ` share ${each.share || "0%"}`)),
    each.resources.map(bar),
    each.shortages.length ? h("ul", { class: "small text-warn" }, each.shortages.map((one) => h("li", {}, one))) : null,
  );
}

function tenant(each) {
  const wrong = each.conditions.filter((one) => one.type !== "Satisfied" && one.status !== "True" && one.message);
  const counts = [plural(each.namespaces, "namespace"), each.steppedDown ? `${plural(each.steppedDown, "service")} stepped down` : null, each.refused ? `${plural(each.refused, "service")} refused` : null].filter(Boolean).join(", ");
  return h(
    "section",
    { class: "panel tenant", "aria-label": `Tenant ${each.name}` },
    h("div", { class: "title" }, h("h2", {}, each.name), h("span", { class: "muted" }, `weight ${each.weight}`), each.stopPolicy === "None" ? null : h("span", { class: "badge warn" }, each.stopPolicy)),
    h("p", { class: "muted" }, counts),
    wrong.map((one) => h("p", { class: "callout" }, h("strong", {}, `${one.type} is ${one.status}: `), one.message)),
    each.pools.length ? each.pools.map(pool) : h("p", { class: "muted" }, "Uses nothing yet."),
  );
}

export function tenantsPage() {
  const list = h("div", { class: "columns" });
  const note = h("p", { class: "notice", role: "status" }, "Loading…");
  const legend = h("p", { class: "legend" }, h("span", { class: "key own-key" }, "own entitlement"), h("span", { class: "key borrowed-key" }, "borrowed"), h("span", { class: "key lent-key" }, "lent to others"), h("span", { class: "key nominal-key" }, "entitlement"));
  const element = h("div", { class: "page" }, h("h1", {}, "Tenants"), note, legend, list);

  function draw({ tenants }) {
    if (!tenants) return;
    const empty = !tenants.tenants.length;
    note.hidden = !empty;
    legend.hidden = empty;
    if (empty) note.textContent = tenants.visible ? "There are no Tenants: namespaces share pools equally." : "Your account cannot list Tenants.";
    part(list, tenants.tenants, (all) => all.map(tenant));
  }
  return { title: "Tenants", element, draw };
}
