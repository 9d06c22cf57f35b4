// The page's state and where it comes from: one stream of events, opened again when it breaks.

import { byId, text } from "./dom.js";
import { seconds } from "./format.js";
import * as panels from "./panels.js";

const KEPT_CHECKPOINTS = 240;
const KEPT_ALERTS = 200;
/** Without an event for this long there is no contact, whatever the connection says. */
const SILENCE_MS = 5000;
const RETRY_MS = 1500;

const state = {
  status: null,
  checkpoints: [],
  intervalS: 0,
  alerts: [],
  history: [],
  heardAt: performance.now(),
  live: false,
};

/** A daemon that started at another time knows nothing of what another one did. */
function forgetFormer(status) {
  const former = state.status;
  // its own clock may be set; the process is another one if it is much younger than it would be
  if (former && Math.abs(status.started_at - former.started_at) > 2000) {
    Object.assign(state, { checkpoints: [], alerts: [], history: [] });
    panels.alerts([]);
  }
}

/** Mean duration of the checkpoints of the last few seconds. */
function meanCheckpoint() {
  const last = state.checkpoints.slice(-20);
  return last.length ? last.reduce((sum, checkpoint) => sum + checkpoint.total_ms, 0) / last.length : null;
}

const handlers = {
  status(status) {
    forgetFormer(status);
    state.status = status;
    const extra = { checkpoint: meanCheckpoint() };
    state.history = [...state.history, panels.sample(status, extra)].slice(-panels.HISTORY);
    panels.header(status, true);
    panels.figures(status, extra, state.history);
  },
  topology(topology) {
    panels.pipeline(topology);
    panels.partitions(topology.partitions);
    panels.actors(topology.actors);
  },
  windows: panels.windows,
  "dead-letters": panels.deadLetters,
  checkpoints({ checkpoints, interval_s }) {
    state.intervalS = interval_s;
    state.checkpoints = merge(state.checkpoints, checkpoints, "epoch", KEPT_CHECKPOINTS);
    panels.checkpoints(state.checkpoints, interval_s);
  },
  alerts({ alerts }) {
    state.alerts = merge(state.alerts, alerts, "seq", KEPT_ALERTS);
    panels.alerts(state.alerts);
  },
};

/** What is new behind what is known; after a reconnection all comes again. */
function merge(known, fresh, number, limit) {
  const last = known.at(-1)?.[number] ?? 0;
  return [...known, ...fresh.filter((item) => item[number] > last)].slice(-limit);
}

function connect() {
  const source = new EventSource("api/v1/stream");
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, ({ data }) => {
      state.heardAt = performance.now();
      setLive(true);
      handle(JSON.parse(data));
    });
  }
  source.onerror = () => {
    setLive(false);
    // the browser tries again by itself, but not after every error
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
}

function setLive(live) {
  if (state.live !== live) {
    state.live = live;
    byId("live").classList.toggle("stale", !live);
    if (state.status) panels.header(state.status, live);
  }
  const offline = byId("offline");
  offline.hidden = live;
  if (!live) {
    const age = (performance.now() - state.heardAt) / 1000;
    text(offline, `No contact with the daemon${state.status ? ` for ${seconds(Math.round(age))}: what is below is that old` : ""}. Trying again.`);
  }
}

function watchSilence() {
  const silent = performance.now() - state.heardAt > SILENCE_MS;
  if (silent || !state.live) setLive(state.live && !silent);
}

async function showConfiguration({ target }) {
  if (!target.open) return;
  const shown = byId("config-text");
  try {
    const answer = await fetch("api/v1/config");
    text(shown, answer.ok ? await answer.text() : `The daemon answered ${answer.status}.`);
  } catch {
    text(shown, "The daemon does not answer.");
  }
}

byId("config").addEventListener("toggle", showConfiguration);
addEventListener("resize", () => panels.checkpoints(state.checkpoints, state.intervalS));
setInterval(watchSilence, 1000);
connect();
