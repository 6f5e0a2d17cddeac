// The configs of one environment, with what it inherits, or of all environments; kept as the server
// has them.
import { count } from "./dom.js";
import { get } from "./http.js";
import { subscribe } from "./stream.js";
import { ALL, chainOf, inEnvironment } from "./environments.js";
import { mine } from "./access.js";

const LIST_MAX = 50000,
  PAGE = 1000; // more are to be narrowed down by a prefix
const STREAMS_MAX = 200; // subscriptions of one connection
const PREVIEW = 160;

export const previewOf = (item) =>
  (typeof item.value === "string" ? item.value : JSON.stringify(item.value)).slice(0, PREVIEW);

// Browsers would take "." and ".." between slashes for steps of their own.
export const pathOf = (key) =>
  `/v1/config/${
    /(^|\/)\.\.?(\/|$)/.test(key)
      ? encodeURIComponent(key)
      : key.split("/").map(encodeURIComponent).join("/")
  }`;
export const urlOf = (key, environment, more = "") =>
  `${pathOf(key)}?${inEnvironment(environment)}${more}`;
export const idOf = (item) => `${item.key}\n${item.environment}`;

export class Store {
  constructor(environment, known, changed, state) {
    this.environment = environment;
    this.known = known;
    this.chain = environment === ALL ? [] : chainOf(known, environment);
    this.sources = environment === ALL ? known.map((x) => x.name) : [environment];
    this.items = new Map();
    this.ids = [];
    this.changed = changed;
    this.state = state;
    this.stopped = false;
    this.more = false;
    this.prefixes = null; // of what may be read, when that is not all; by environment
  }
  all() {
    return this.environment === ALL;
  }
  async read(environment, prefix, items) {
    let token = "",
      first = null;
    do {
      const page = await get(
        `/v1/config?limit=${PAGE}&${inEnvironment(environment)}${this.all() ? "&own=true" : ""}` +
          `&prefix=${encodeURIComponent(prefix)}${token && `&page_token=${token}`}`,
      );
      for (const item of page.items) items.set(idOf(item), this.prepared(item));
      first = first ?? page.revision;
      token = page.next_page_token || "";
      this.state(token ? `reading, ${count(items.size)} so far` : "");
    } while (token && items.size < LIST_MAX && !this.stopped);
    this.more = this.more || Boolean(token);
    return first;
  }
  async load() {
    const items = new Map();
    let first = Infinity;
    this.more = false;
    for (const environment of this.sources)
      for (const prefix of this.prefixes ? this.prefixes.get(environment) || [] : [""])
        if (items.size < LIST_MAX)
          first = Math.min(first, await this.read(environment, prefix, items));
    this.items = items;
    this.ids = [...items.keys()].sort();
    this.changed(null);
    return first;
  }
  // All of them, or what this user may read.
  async loadMine() {
    try {
      return await this.load();
    } catch (e) {
      if (e.status !== 403 || this.prefixes) throw e;
      this.prefixes = await mine();
      if (!this.sources.some((x) => this.prefixes.has(x))) throw e;
      return this.load();
    }
  }
  prepared(item) {
    item.line = previewOf(item);
    item.text = `${item.key}\n${item.line}`.toLowerCase();
    return item;
  }
  // Until all is to be read anew.
  listen(revision) {
    return new Promise((again) => {
      const places = this.sources.flatMap((environment) =>
        (this.prefixes ? this.prefixes.get(environment) || [] : [""]).map((prefix) => ({
          environment,
          prefix,
        })),
      );
      const ends = places.slice(0, STREAMS_MAX).map((where) =>
        subscribe({ ...where, own: this.all() }, revision, {
          again,
          changes: (items) => items.forEach((x) => this.tell(x)),
          state: (s) => this.state(s === "live" ? "" : "away: what you see may be old"),
        }),
      );
      this.end = () => (ends.forEach((end) => end()), again());
      if (this.stopped) this.end();
    });
  }
  async follow() {
    while (!this.stopped) {
      await this.listen(await this.loadMine());
      this.end();
      await new Promise((done) => setTimeout(done, 200)); // never in a circle
    }
  }
  stop() {
    this.stopped = true;
    if (this.end) this.end();
  }
  // What a change means for the list.
  tell(item) {
    const known = this.items.get(idOf(item));
    const read = known && known.from === item.from && known.revision > item.revision;
    if (read) return; // it is newer
    if (item.deleted) this.drop(item);
    else this.set(item);
  }
  place(id) {
    let low = 0,
      high = this.ids.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.ids[mid] < id) low = mid + 1;
      else high = mid;
    }
    return low;
  }
  set(item) {
    const id = idOf(item);
    if (!this.items.has(id)) this.ids.splice(this.place(id), 0, id);
    this.items.set(id, this.prepared(item));
    this.changed(id);
  }
  drop(item) {
    const id = idOf(item);
    if (this.items.delete(id)) this.ids.splice(this.place(id), 1);
    this.changed(id);
  }
}
