// Dead letters by reason, each with its last few, and with what sends them again.

import { byId, keyed, make, span, text } from "./dom.js";
import { bytes, count, moment } from "./format.js";

/** The reason of those that the destination of a sink refused. */
const REJECTED = "sink_rejected";

/** The reasons that there were, in the order of the API, so that nothing moves under the reader. */
export function showDeadLetters(reasons, sinks) {
  const some = reasons.filter(({ total }) => total > 0);
  byId("dead-empty").hidden = some.length > 0;
  text(byId("dead-note"), some.length ? `${count(some.reduce((sum, { total }) => sum + total, 0))} in all` : "");
  keyed(byId("dead"), some, ({ reason }) => reason, createReason, (entry, { reason, total, samples }) => {
    const [summary, inside] = entry.children;
    const [, again, last] = inside.children;
    text(summary.lastElementChild, count(total));
    keyed(again, commands(reason, sinks), (command) => command, createCommand);
    keyed(last, samples, ({ at, sink, partition, offset }) => `${at}/${sink}/${partition}/${offset}`, createSample);
  });
}

/** What sends the dead letters of a reason again; those that sinks rejected go back to their own. */
function commands(reason, sinks) {
  const command = `tidegate dead-letters redrive --config FILE --reason ${reason}`;
  if (reason !== REJECTED) return [command];
  return sinks.filter(({ rejected }) => rejected > 0).map(({ name }) => `${command} --sink ${name}`);
}

function createReason({ reason }) {
  const again = make("p", { className: "quiet", textContent: "Once the cause is mended, this sends them again:" });
  const inside = make("div", { className: "inside" }, again, make("ul", { className: "commands" }), make("div"));
  return make("details", {}, make("summary", {}, span("name", reason), span("number")), inside);
}

function createCommand(command) {
  return make("li", {}, make("code", { textContent: command, title: "a click selects all of it" }));
}

function createSample({ at, sink, partition, offset, size, detail, value }) {
  const from = sink ? `refused by ${sink}, ` : "";
  const where = `${moment(at)}, ${from}partition ${partition}, offset ${offset}, ${bytes(size)}`;
  return make(
    "div",
    { className: "sample" },
    make("p", { textContent: detail }),
    make("p", { className: "quiet", textContent: where }),
    make("pre", { textContent: value }),
  );
}
