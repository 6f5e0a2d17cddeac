// What this user may do, as far as their roles tell: what they may not is not offered. The server
// has the last word on each request.
import { who } from "./http.js";

const textOf = (key) => (typeof key === "string" ? key : "\uffff"); // bytes that are no text

// Where a permission begins and ends, as texts; no end: everything from there on.
function rangeOf(p) {
  if (p.prefix === undefined)
    return p.range_end === undefined
      ? [textOf(p.key), `${textOf(p.key)}\0`]
      : [textOf(p.key), textOf(p.range_end)];
  const from = textOf(p.prefix).replace(/^\0/, "");
  return [from, from ? `${from}\uffff` : undefined];
}
const all = () => !who().authentication || who().admin || !who().user;
const ranges = (right) =>
  who()
    .roles.flatMap((r) => r.permissions)
    .filter((p) => p.right === right || p.right === "readwrite")
    .map(rangeOf);

// right: "read" or "write".
export const may = (right, key) =>
  all() || ranges(right).some(([from, to]) => from <= key && (to === undefined || key < to));

// Whether there is any key below the prefix for which that holds.
export const mayBelow = (right, prefix) =>
  all() ||
  ranges(right).some(([from, to]) => from < `${prefix}\uffff` && (to === undefined || prefix < to));

export const mayAll = all;

// The verbs of an environment (docs/login.md), and which others lend each.
const LENT = {
  put: [["put"]],
  delete: [["delete"]],
  propose: [["propose"], ["put"], ["delete"], ["approve"], ["publish"]],
  approve: [["approve"], ["put", "delete"]],
  publish: [["publish"], ["put", "delete"]],
};
const can = (test, root, verb, environment, key) =>
  test("write", `${root}${environment}/${key}`) ||
  LENT[verb].some((verbs) =>
    verbs.every((v) => test("write", `confman/${v}/${environment}/${key}`)),
  );
const CONFIGS = "confman/config/",
  FLAGS = "confman/flag/";
export const canConfig = (verb, environment, key) => can(may, CONFIGS, verb, environment, key);
export const canFlag = (verb, environment, name) => can(may, FLAGS, verb, environment, name);
// Whether there is any config, or flag, in the environment for which that holds.
export const canConfigs = (verb, environment) => can(mayBelow, CONFIGS, verb, environment, "");
export const canFlags = (verb, environment) => can(mayBelow, FLAGS, verb, environment, "");

export const secretKey = (namespace, path) => `confman/secret/${namespace}/${path}`;
