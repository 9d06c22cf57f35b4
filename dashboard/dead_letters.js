// Dead letters by reason, each with its last few.

import { byId, keyed, make, span, text } from "./dom.js";
import { bytes, count, moment } from "./format.js";

/** The reasons that there were, in the order of the API, so that nothing moves under the reader. */
export function showDeadLetters(reasons) {
  const some = reasons.filter(({ total }) => total > 0);
  byId("dead-empty").hidden = some.length > 0;
  text(byId("dead-note"), some.length ? `${count(some.reduce((sum, { total }) => sum + total, 0))} in all` : "");
  keyed(byId("dead"), some, ({ reason }) => reason, createReason, (entry, { total, samples }) => {
    const [summary, inside] = entry.children;
    text(summary.lastElementChild, count(total));
    keyed(inside, samples, ({ at, partition, offset }) => `${at}/${partition}/${offset}`, createSample);
  });
}

function createReason({ reason }) {
  return make("details", {}, make("summary", {}, span("name", reason), span("number")), make("div", { className: "inside" }));
}

function createSample({ at, partition, offset, size, detail, value }) {
  const where = `${moment(at)}, partition ${partition}, offset ${offset}, ${bytes(size)}`;
  return make(
    "div",
    { className: "sample" },
    make("p", { textContent: detail }),
    make("p", { className: "quiet", textContent: where }),
    make("pre", { textContent: value }),
  );
}
