/* linear: is a history of operations on single keys linearizable?
 *
 * A history as text, one operation a line, eight fields with one space between, no order of lines
 * asked for; empty lines and those that begin with "#" say nothing:
 *
 *     client op key value invoke_us return_us outcome result
 *
 * client     number of the client; one client has one operation at a time, except that after an
 *            unknown one it goes on while that may still take effect
 * op         put, get, delete, cas
 * key        text without spaces, not empty; every key begins absent
 * value      put: the new value. cas: OLD>NEW, if the value is OLD then put NEW; OLD is "-" for
 *            "if the key is absent". get, delete: "-"
 *            Values are text without spaces and ">", not empty, never "-", "!" or "1"
 * invoke_us  when the client began, of one clock for all clients (so is return_us)
 * return_us  when it knew; "-" for unknown
 * outcome    ok: it took effect once, between the two times. fail: it certainly never takes effect
 *            (such a line changes nothing). unknown: it takes effect once at any time after
 *            invoke_us, or never
 * result     ok get: the value, "-" for absent. ok delete: "1" there was one, "0" there was none.
 *            ok cas: "1" swapped; when it was not, the value there was, "-" for absent, or "!"
 *            when the client did not look. ok put and all that is not ok: "-" */
#pragma once
