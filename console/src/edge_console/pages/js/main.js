// Signs in, chooses the page by the address, and gives it what the stream sends.

import { Refused, dropToken, get, token } from "./api.js";
import { h } from "./dom.js";
import { Live } from "./live.js";
import { poolPage, poolsPage } from "./pools.js";
import { servicePage } from "./service.js";
import { servicesPage } from "./services.js";
import { signInPage } from "./signin.js";
import { tenantsPage } from "./tenants.js";

const main = document.getElementById("main");
const sections = document.getElementById("sections");
const liveness = document.getElementById("live");
const who = document.getElementById("who");
const leave = document.getElementById("leave");

let page = null;
let viewer = null;
let drawing = 0;

const live = new Live({
  changed: () => draw(),
  state: (now) => {
    if (liveness.dataset.state === now) return;
    liveness.dataset.state = now;
    liveness.textContent = now === "live" ? "Live" : "Reconnecting…";
  },
  ended: (message) => signOut(message),
});

/** Draws once per frame, whatever number of events came. */
function draw() {
  if (drawing || !page) return;
  drawing = requestAnimationFrame(() => {
    drawing = 0;
    if (page) page.draw(live.values, viewer);
  });
}

const PAGES = [
  [/^#\/services\/([^/]+)\/([^/]+)$/, ([namespace, name]) => [servicePage(namespace, name), { service: `${namespace}/${name}` }]],
  [/^#\/pools\/([^/]+)$/, ([name]) => [poolPage(name), { pool: name }]],
  [/^#\/pools$/, () => [poolsPage(), {}]],
  [/^#\/tenants$/, () => [tenantsPage(), {}]],
  [/^/, () => [servicesPage(), {}]],
];

function open({ focus = true } = {}) {
  if (!viewer) return;
  const address = location.hash || "#/services";
  const [pattern, make] = PAGES.find(([each]) => each.test(address));
  const [made, watched] = make((pattern.exec(address) || []).slice(1).map(decodeURIComponent));
  if (page && page.close) page.close();
  page = made;
  main.replaceChildren(page.element);
  document.title = `${page.title} – Edge console`;
  const section = address.split("/")[1] || "services";
  for (const link of sections.children) {
    if (link.getAttribute("href") === `#/${section}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  live.follow(watched);
  page.draw(live.values, viewer);
  if (focus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

async function signIn() {
  viewer = await get("api/viewer");
  for (const each of [sections, liveness, who, leave]) each.hidden = false;
  who.textContent = viewer.user.replace(/^system:serviceaccount:/, "");
  who.title = viewer.user;
  open({ focus: false });
}

function signOut(message) {
  live.stop();
  dropToken();
  viewer = null;
  for (const each of [sections, liveness, who, leave]) each.hidden = true;
  if (page && page.close) page.close();
  page = signInPage(signIn, message);
  main.replaceChildren(page.element);
  document.title = "Sign in – Edge console";
}

const THEMES = ["auto", "light", "dark"];
const NAMES = { auto: "System", light: "Light", dark: "Dark" };
const themeButton = document.getElementById("theme");

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  themeButton.replaceChildren(h("span", {}, "Theme: "), NAMES[theme]);
  themeButton.setAttribute("aria-label", `Theme: ${NAMES[theme]}`);
}

themeButton.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  localStorage.setItem("edge-console-theme", next);
  showTheme(next);
});
leave.addEventListener("click", () => signOut(""));
addEventListener("hashchange", () => open());
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
  const search = document.querySelector("input[type=search]");
  if (event.key === "/" && !typing && search) {
    event.preventDefault();
    search.focus();
  }
});

const kept = localStorage.getItem("edge-console-theme");
showTheme(THEMES.includes(kept) ? kept : "auto");
if (token()) {
  main.replaceChildren(h("p", { class: "notice" }, "Connecting…"));
  signIn().catch((error) => signOut(error instanceof Refused ? error.message : "The console does not respond: reload the page."));
} else {
  signOut("");
}
