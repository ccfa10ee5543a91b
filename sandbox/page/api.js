/** The chat API: calls with the key of the page's address, and the stream of events. */

/** @typedef {{ number: number, chat_id: number, kind: string, content: any }} ChatEvent */

export const key = location.hash.slice(1);

/** The sandbox refused a call; the message says why. */
export class RefusedError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Call the chat API; `body` is sent as JSON, or as the form that it is.
 * @param {string} method
 * @param {string} path  below `/chat/`
 * @param {any} [body]
 * @returns {Promise<any>}  rejected with `RefusedError`, whose status is 0 when nothing answers
 */
export async function call(method, path, body) {
  const isForm = body instanceof FormData;
  /** @type {Record<string, string>} */
  const headers = { "X-Sandbox-Key": key };
  if (body && !isForm) headers["Content-Type"] = "application/json";
  const sent = isForm || !body ? body : JSON.stringify(body);
  const response = await fetch(`/chat/${path}`, { method, headers, body: sent }).catch(() => {
    throw new RefusedError("", 0);
  });
  const answer = await response.json().catch(() => {
    if (response.ok) throw new RefusedError("", 0); // it was cut off
    return {};
  });
  if (!response.ok) throw new RefusedError(answer.error ?? answer.description ?? String(response.status), response.status);
  return answer;
}

/** @param {string} fileId */
export function fileUrl(fileId) {
  return `/chat/files/${encodeURIComponent(fileId)}?key=${encodeURIComponent(key)}`;
}

/**
 * Follow the events after a position, for ever: the browser resumes the stream by the last event's id.
 * @param {string} position
 * @param {{ onEvent: (event: ChatEvent) => void, onRestart: () => void, onConnection: (isUp: boolean) => void }} handlers
 */
export function follow(position, handlers) {
  let last = position;
  let source = open();

  function open() {
    const query = new URLSearchParams({ key, after: last });
    const opened = new EventSource(`/chat/events?${query}`);
    opened.onopen = () => handlers.onConnection(true);
    opened.onmessage = (event) => {
      last = event.lastEventId;
      handlers.onEvent(JSON.parse(event.data));
    };
    opened.addEventListener("restarted", (event) => {
      last = /** @type {MessageEvent} */ (event).lastEventId;
      handlers.onRestart();
    });
    opened.onerror = () => {
      handlers.onConnection(false);
      if (opened.readyState === EventSource.CLOSED) setTimeout(reopen, 2000); // after an answer that is no stream
    };
    return opened;
  }

  function reopen() {
    source.close();
    source = open();
  }
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && reopen());
}
