// Requests with the bearer token. The token is kept for this tab alone and sent in a header, never in an address.

const KEY = "edge-console-token";

export const token = () => sessionStorage.getItem(KEY);
export const keepToken = (text) => sessionStorage.setItem(KEY, text.trim());
export const dropToken = () => sessionStorage.removeItem(KEY);

export class Refused extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function send(path, options = {}) {
  const headers = { Authorization: `Bearer ${token()}`, ...(options.body ? { "Content-Type": "application/json" } : {}) };
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (response.ok) return response;
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).message || message;
  } catch {
    // not JSON: the status says enough
  }
  throw new Refused(response.status, message, Number(response.headers.get("Retry-After")) || 1);
}

export const get = async (path, signal) => (await send(path, { signal })).json();
export const post = async (path, value, signal) =>
  (await send(path, { method: "POST", body: JSON.stringify(value), signal })).json();

/** Reads server-sent events by fetch, since an EventSource sends no header. Calls `on(name, data)`. */
export async function stream(path, signal, on) {
  const response = await send(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block);
      const data = /^data: (.*)$/m.exec(block);
      if (name && data) on(name[1], JSON.parse(data[1]));
      else on("alive", null);
    }
  }
}
