// The configs of one environment, with what it inherits, or of all environments; kept as the server
// has them.
import { count } from "./dom.js";
import { get, watch, watchKeys } from "./http.js";
import { ALL, chainOf, inEnvironment } from "./environments.js";
import { mine } from "./access.js";

const LIST_MAX = 50000,
  PAGE = 1000; // more are to be narrowed down by a prefix
const WATCHES_MAX = 3; // a browser opens few connections to one server
const READ_AGAIN_MAX = 200; // configs read one by one; more: all of them anew
const PREVIEW = 160;
const CONFIGS = "confman/config/";

const preview = (item) =>
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
    this.stop = new AbortController();
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
    } while (token && items.size < LIST_MAX && !this.stop.signal.aborted);
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
    item.line = preview(item);
    item.text = `${item.key}\n${item.line}`.toLowerCase();
    return item;
  }
  watches(signal, revision, end) {
    const state = (s) => this.state(s === "live" ? "" : "away: what you see may be old");
    if (this.all() && !this.prefixes)
      return [
        watchKeys(CONFIGS, revision, {
          signal,
          state,
          lost: end,
          tell: (type, key, at) => this.keyChanged(type, key, at, end),
        }),
      ];
    const which = (this.all() ? this.sources : this.chain).flatMap((environment) =>
      (this.prefixes ? this.prefixes.get(environment) || [] : [""]).map((prefix) => [
        environment,
        prefix,
      ]),
    );
    return which.slice(0, WATCHES_MAX).map(([environment, prefix]) =>
      watch(`${inEnvironment(environment)}&prefix=${encodeURIComponent(prefix)}`, revision, {
        signal,
        state,
        tell: (type, item) => (type === "lost" ? end() : this.tell(type, item)),
      }),
    );
  }
  async follow() {
    while (!this.stop.signal.aborted) {
      const revision = await this.loadMine();
      const round = new AbortController(),
        end = () => round.abort();
      this.stop.signal.addEventListener("abort", end);
      await Promise.all(this.watches(round.signal, revision, end));
      this.stop.signal.removeEventListener("abort", end);
      if (!this.stop.signal.aborted) await new Promise((done) => setTimeout(done, 1000));
    }
  }
  // What a change means for the list: the nearest environment's config counts.
  tell(type, item) {
    const own = item.environment,
      seen = this.all() ? item : { ...item, environment: this.environment };
    const known = this.items.get(idOf(seen));
    const far = (name) => (this.all() ? 0 : this.chain.indexOf(name));
    const at = known ? far(known.from || known.environment) : Infinity;
    if (at < far(own) || (at === far(own) && known.revision >= item.revision)) return;
    if (type === "put") {
      if (far(own) > 0) seen.from = own;
      this.set(seen);
    } else if (known && at === far(own)) {
      if (far(own) < this.chain.length - 1) this.again(seen);
      else this.drop(seen);
    }
  }
  // etcd's door tells of keys alone: what stands there now is asked for.
  keyChanged(type, full, revision, end) {
    const [environment, ...rest] = full.slice(CONFIGS.length).split("/");
    const item = { key: rest.join("/"), environment, revision };
    if (type === "delete") this.tell("delete", item);
    else if ((this.asked = (this.asked || 0) + 1) > READ_AGAIN_MAX) end();
    else this.again(item).finally(() => this.asked--);
  }
  async again(item) {
    try {
      this.set(await get(urlOf(item.key, item.environment, this.all() ? "&own=true" : "")));
    } catch (e) {
      if (e.status === 404) this.drop(item);
    }
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
