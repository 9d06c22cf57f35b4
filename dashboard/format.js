// Numbers, times and sizes as people read them. Nothing here touches the page.

const UNKNOWN = "–";

/** A count: 1,234 in full, larger ones with a suffix. */
export function count(n) {
  if (n == null) return UNKNOWN;
  if (n < 10_000) return Math.round(n).toLocaleString("en");
  const [unit, size] = [["k", 1e3], ["M", 1e6], ["G", 1e9], ["T", 1e12]].findLast(([, size]) => n >= size);
  return `${short(n / size)}${unit}`;
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
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** Seconds, or what they add up to. */
export function seconds(s) {
  if (s == null) return UNKNOWN;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 120) return `${short(s)} s`;
  const units = [["d", 86_400], ["h", 3600], ["min", 60]];
  const index = units.findIndex(([, size]) => s >= size);
  const [unit, size] = units[index];
  const rest = units[index + 1] ? Math.floor((s % size) / units[index + 1][1]) : 0;
  return `${Math.floor(s / size)} ${unit}${rest ? ` ${rest} ${units[index + 1][0]}` : ""}`;
}

/** Bytes. */
export function bytes(n) {
  if (n == null) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = n < 1 ? 0 : Math.min(Math.floor(Math.log2(n) / 10), units.length - 1);
  return `${short(n / 1024 ** power)} ${units[power]}`;
}

/** A share of one. */
export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** A moment of today by the clock, another one with its day. */
export function moment(ms) {
  if (ms == null) return UNKNOWN;
  const date = new Date(ms);
  const clock = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toISOString().slice(0, 10)} ${clock}`;
}

function short(n) {
  return n < 10 ? n.toFixed(1) : Math.round(n).toString();
}
