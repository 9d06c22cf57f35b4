// Numbers, times and sizes as people read them. Nothing here touches the page.

export const UNKNOWN = "–";

/** A count: 1,234 in full, larger ones with a suffix. */
export function count(n) {
  if (n == null) return UNKNOWN;
  if (n < 10_000) return Math.round(n).toLocaleString("en");
  const [suffix, size] = [["k", 1e3], ["M", 1e6], ["G", 1e9], ["T", 1e12]].findLast(([, least]) => n >= least);
  return `${three(n / size)} ${suffix}`;
}

/** A rate per second. */
export function rate(n) {
  if (n == null) return UNKNOWN;
  return `${n > 0 && n < 10 ? n.toFixed(1) : count(n)}/s`;
}

/** Milliseconds. */
export function millis(ms) {
  if (ms == null) return UNKNOWN;
  if (ms >= 1000) return seconds(ms / 1000);
  return `${two(ms)} ms`;
}

/** Seconds, or what they add up to. */
export function seconds(s) {
  if (s == null) return UNKNOWN;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 120) return `${two(s)} s`;
  const units = [["d", 86_400], ["h", 3600], ["min", 60]];
  const index = units.findIndex(([, size]) => s >= size);
  const [unit, size] = units[index];
  const smaller = units[index + 1];
  const rest = smaller ? Math.floor((s % size) / smaller[1]) : 0;
  return `${Math.floor(s / size)} ${unit}${rest ? ` ${rest} ${smaller[0]}` : ""}`;
}

/** Bytes. */
export function bytes(n) {
  if (n == null) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = n < 1 ? 0 : Math.min(Math.floor(Math.log2(n) / 10), units.length - 1);
  return power ? `${two(n / 1024 ** power)} ${units[power]}` : `${n} B`;
}

/** A share of one. */
export function percent(share) {
  return `${share > 0 && share < 0.01 ? "<1" : Math.round(share * 100)} %`;
}

/** A moment of today by the clock, another one with its day. */
export function moment(ms) {
  if (ms == null) return UNKNOWN;
  const date = new Date(ms);
  const clock = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? clock : `${day(ms)} ${clock}`;
}

/** The day of a moment, where the reader is. */
export function day(ms) {
  const date = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** So many of them: "1 worker", "2 workers". */
export function several(n, noun) {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** As many digits as tell small values apart. */
function two(n) {
  return n < 9.95 ? n.toFixed(1) : Math.round(n).toString();
}

function three(n) {
  return n < 99.95 ? n.toFixed(1) : Math.round(n).toString();
}
