// The states of a service, each with a shape beside its color.

import { h, s } from "./dom.js";

export const STATES = {
  NotReady: { label: "Not ready", tone: "bad", shape: "M8 1.5 15 14.5H1z" },
  Missed: { label: "SLO missed", tone: "bad", shape: "M8 1 15 8 8 15 1 8z" },
  Degraded: { label: "Degraded", tone: "warn", shape: "M8 1 15 8 8 15 1 8z" },
  Waiting: { label: "Waiting", tone: "muted", shape: "M2 2h12v12H2z" },
  Idle: { label: "Idle", tone: "muted", shape: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2z" },
  Met: { label: "SLO met", tone: "good", shape: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2z" },
};
export const ORDER = Object.keys(STATES);

export function badge(state) {
  const { label, tone, shape } = STATES[state];
  return h(
    "span",
    { class: `badge ${tone}` },
    s("svg", { viewBox: "0 0 16 16", width: 10, height: 10, "aria-hidden": "true", class: state === "Idle" ? "hollow" : "" }, s("path", { d: shape })),
    label,
  );
}

/** The tone of a share of the error budget that is left, or of an attainment. */
export const budgetTone = (left) => (left === null ? "muted" : left <= 0 ? "bad" : left < 0.25 ? "warn" : "good");
export const burnTone = (rate) => (rate === null ? "muted" : rate > 6 ? "bad" : rate > 1 ? "warn" : "good");
