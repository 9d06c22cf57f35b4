// One stream of server-sent events that does not give up.

/** Without an event for this long there is no contact, whatever the connection says. */
const SILENCE_MS = 5000;
const RETRY_MS = 2000;

/**
 * Follows the stream at `url`: each event goes to the handler of its name, parsed.
 *
 * `onOpen` is called when a connection begins: what comes then is everything anew. `onContact` is called with true when
 * events come again, and with false and the age of the last one in seconds, or null if there was none, for as long
 * as they do not.
 */
export function follow(url, { handlers, onOpen, onContact }) {
  let source;
  let openedAt;
  let heardAt = null;
  let live = false;

  function open() {
    source?.close();
    openedAt = performance.now();
    source = new EventSource(url);
    source.onopen = onOpen;
    source.onerror = () => setLive(false);
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, ({ data }) => {
        heardAt = performance.now();
        setLive(true);
        handle(JSON.parse(data));
      });
    }
  }

  function setLive(now) {
    if (live !== now) onContact(now, age());
    live = now;
  }

  function age() {
    return heardAt === null ? null : (performance.now() - heardAt) / 1000;
  }

  // the browser tries again by itself, but not after every error, and a connection can die without one
  function watch() {
    const now = performance.now();
    const silent = now - Math.max(heardAt ?? 0, openedAt) > SILENCE_MS;
    const closed = source.readyState === EventSource.CLOSED && now - openedAt > RETRY_MS;
    if (silent) setLive(false);
    if (silent || closed) open();
    if (!live) onContact(false, age());
  }

  open();
  setInterval(watch, 1000);
}
