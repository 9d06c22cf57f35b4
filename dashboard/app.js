// The page's state: what the stream says goes into it, and from it to the panels.

import { showActors } from "./actors.js";
import { showAlerts } from "./alerts.js";
import { showCheckpoints } from "./checkpoints.js";
import { byId, text } from "./dom.js";
import { showDeadLetters } from "./dead_letters.js";
import { seconds } from "./format.js";
import { sampleOf, showFigures, showHeader } from "./overview.js";
import { showPartitions } from "./partitions.js";
import { showPipeline } from "./pipeline.js";
import { showSinks } from "./sinks.js";
import { History } from "./spark.js";
import { follow } from "./stream.js";
import { showWindows } from "./windows.js";

const KEPT_CHECKPOINTS = 240;
const KEPT_ALERTS = 200;
/** A process that started so much later, by its own clock, is another one. */
const SAME_START_MS = 2000;

const state = {
  live: false,
  status: null,
  windows: null,
  actors: [],
  actorsAt: null,
  checkpoints: [],
  alerts: [],
  history: new History(),
};
/** What this connection has not sent yet; what it sends first is all there is, and takes the place of what was known. */
const awaited = new Set();

const handlers = {
  status(status) {
    if (awaited.delete("status")) forgetFormer(status);
    else awaited.delete("alerts"); // a connection begins with all alerts, if there are any, before the second status
    state.status = status;
    const mean = meanCheckpoint();
    state.history.add(performance.now(), sampleOf(status, mean));
    showHeader(status, true);
    showFigures(status, mean, state.history);
    showSinks(status.sinks);
  },
  topology(topology) {
    const { actors } = topology;
    // a pipeline that is busy failing has no time to tell; who was there is then still the best answer
    if (actors.length) Object.assign(state, { actors, actorsAt: state.status?.now });
    showPipeline(topology, state);
    showPartitions(topology.partitions);
    showActors(state.actors, actors.length ? null : state.actorsAt);
  },
  windows(windows) {
    state.windows = windows;
    showWindows(windows);
  },
  "dead-letters": ({ reasons }) => showDeadLetters(reasons, state.status?.sinks ?? []),
  checkpoints({ checkpoints, interval_s }) {
    const known = awaited.delete("checkpoints") ? [] : state.checkpoints;
    state.checkpoints = [...known, ...checkpoints].slice(-KEPT_CHECKPOINTS);
    showCheckpoints(state.checkpoints, interval_s);
  },
  alerts({ alerts }) {
    const first = awaited.delete("alerts");
    state.alerts = [...(first ? [] : state.alerts), ...alerts].slice(-KEPT_ALERTS);
    showAlerts(state.alerts, { announce: !first });
  },
};

/** What another process did is none of what this one knows. */
function forgetFormer({ started_at, uptime_s, checkpoint }) {
  const former = state.status;
  if (!former) return;
  const isSame = uptime_s >= former.uptime_s && Math.abs(started_at - former.started_at) < SAME_START_MS;
  if (isSame) return;
  Object.assign(state, { windows: null, actors: [], actorsAt: null, checkpoints: [], alerts: [] });
  state.history.clear();
  showAlerts([], { announce: false });
  showCheckpoints([], checkpoint.interval_s);
}

/** Mean duration of the checkpoints of the last few seconds; null before the first. */
function meanCheckpoint() {
  const last = state.checkpoints.slice(-20);
  return last.length ? last.reduce((sum, { total_ms }) => sum + total_ms, 0) / last.length : null;
}

function onOpen() {
  for (const name of ["status", "checkpoints", "alerts"]) awaited.add(name);
}

function onContact(live, ageS) {
  state.live = live;
  byId("live").classList.toggle("stale", !live);
  byId("offline").hidden = live;
  if (live) {
    // before anything was heard, an empty list would say something that nobody knows
    byId("live").hidden = false;
    return;
  }
  showHeader(state.status, false);
  text(byId("age"), ageS === null ? "Nothing is known yet." : `What is below is ${seconds(Math.round(ageS))} old.`);
}

async function showConfiguration({ target }) {
  if (!target.open) return;
  const shown = byId("config-text");
  try {
    const answer = await fetch("api/v1/config");
    text(shown, answer.ok ? await answer.text() : `The daemon answered ${answer.status}.`);
  } catch {
    text(shown, "The daemon does not answer. Open this again to try again.");
  }
}

byId("config").addEventListener("toggle", showConfiguration);
follow("api/v1/stream", { handlers, onOpen, onContact });
