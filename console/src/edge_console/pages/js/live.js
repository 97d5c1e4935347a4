// The state that the page shows: what the stream sent last. Opens the stream again when the page or the connection changes.

import { Refused, stream } from "./api.js";

const LISTS = { services: "key", pools: "name" };
const RETRY_MS = [1000, 2000, 5000, 10000];

export class Live {
  constructor({ changed, state, ended }) {
    this.changed = changed;
    this.state = state;
    this.ended = ended;
    this.values = { services: null, pools: null, tenants: null, service: undefined, pool: undefined };
    this.watched = {};
    this.stopping = null;
    this.turn = 0;
  }

  /** Follows the lists, and one service or pool beside them. */
  follow(watched = {}) {
    const same = this.stopping && JSON.stringify(watched) === JSON.stringify(this.watched);
    if (same) return;
    this.watched = watched;
    this.values.service = undefined;
    this.values.pool = undefined;
    this.stop();
    this.stopping = new AbortController();
    this.run(this.stopping.signal);
  }

  stop() {
    if (this.stopping) this.stopping.abort();
    this.stopping = null;
  }

  async run(signal) {
    let tries = 0;
    while (!signal.aborted) {
      try {
        await stream(`api/stream?${new URLSearchParams(this.watched)}`, signal, (name, data) => {
          if (signal.aborted) return;
          tries = 0;
          this.state("live");
          this.take(name, data);
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused && error.status === 401) return this.ended(error.message);
      }
      if (signal.aborted) return;
      this.state("away");
      const wait = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)];
      tries += 1;
      await new Promise((resume) => setTimeout(resume, wait));
    }
  }

  take(name, data) {
    if (name === "end") {
      this.stop();
      this.ended(data.message);
    } else if (name in LISTS) {
      const rows = data.whole || !this.values[name] ? new Map() : this.values[name];
      for (const row of data.rows) rows.set(row[LISTS[name]], row);
      for (const key of data.gone) rows.delete(key);
      this.values[name] = rows;
      this.changed(name);
    } else if (name !== "alive") {
      this.values[name] = data.value;
      this.changed(name);
    }
  }
}
