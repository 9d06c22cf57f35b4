// Who is there, who is not, and why.

import { byId, keyed, make, mark, set, span, text } from "./dom.js";
import { moment, several } from "./format.js";

const SYMBOLS = { restarting: "↻", stopped: "✕" };
const SHOWN_FAILURES = 6;

/** All actors by kind; `asOf` is when this was known, or null if it is of now. */
export function showActors(actors, asOf) {
  byId("actors-empty").hidden = actors.length > 0;
  text(byId("actors-note"), note(actors, asOf));
  const kinds = [...Map.groupBy(actors, ({ actor }) => actor)];
  keyed(byId("actors"), kinds, ([kind]) => kind, createKind, (row, [, members]) => {
    keyed(row.lastElementChild, members, ({ index }) => index, () => make("li"), showActor);
  });
  showFailures(actors);
}

function note(actors, asOf) {
  if (!actors.length) return "";
  if (asOf != null) return `as of ${moment(asOf)}: the pipeline has no time to tell`;
  const down = actors.filter(({ state }) => state !== "running").length;
  return down ? `${down} of ${actors.length} not running` : `all ${actors.length} running`;
}

function createKind([kind]) {
  return make("div", { className: "kind" }, span("", kind), make("ul"));
}

function showActor(cell, { actor, index, state, restarts }) {
  const suffix = state !== "running" ? ` ${SYMBOLS[state] ?? state}` : restarts ? ` ↻${restarts}` : "";
  text(cell, `${index}${suffix}`);
  mark(cell, "state", state);
  mark(cell, "restarted", restarts > 0);
  set(cell, "title", `${actor} ${index}: ${state}, ${several(restarts, "restart")}`);
}

/** Those that are down first, then the last failures. */
function showFailures(actors) {
  const isDown = ({ state }) => state !== "running";
  const order = (a, b) => isDown(b) - isDown(a) || (b.last_failure?.at ?? 0) - (a.last_failure?.at ?? 0);
  const failed = actors.filter((actor) => isDown(actor) || actor.last_failure).sort(order);
  keyed(byId("failures"), failed.slice(0, SHOWN_FAILURES), ({ actor, index }) => `${actor}/${index}`, createFailure, (row, actor) => {
    const [head, cause] = row.children;
    const [, state, when] = head.children;
    text(state, `${actor.state}, ${several(actor.restarts, "restart")}`);
    text(when, actor.last_failure ? moment(actor.last_failure.at) : "");
    text(cause, actor.last_failure?.cause ?? "");
    mark(row, "state", actor.state);
  });
}

function createFailure({ actor, index }) {
  const head = make("p", {}, span("name", `${actor} ${index}`), span("state"), span("when"));
  return make("li", {}, head, make("p", { className: "cause" }));
}
