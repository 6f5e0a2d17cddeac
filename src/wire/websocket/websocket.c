/* wslay takes its memory from the C heap and cannot be told otherwise: its context of some 9 KiB,
 * the message that is coming (message_bytes_max, and FRAGMENTS_MAX small pieces), and what waits to
 * be written, which is flushed before each call of ours returns. So all of it is bounded, though
 * the given allocator does not count it. Most connections are quiet most of the time: a context is
 * given back when it holds nothing, which is when the frames that ended are all that came. */
#include "wire/websocket/websocket.h"
#include <openssl/evp.h>
#include <wslay/wslay.h>
#include "base/check.h"

/* A piece of one byte costs wslay a hundred. */
enum { FRAGMENTS_MAX = 1024 };

struct ws {
    struct alloc *alloc;
    wslay_event_context_ptr event; /* NULL: nothing has begun that has not ended */
    size_t message_bytes_max;
    size_t fragments; /* of the message that is coming */
    uint64_t frame, fed, whole; /* bytes: of the frame that is coming, fed, in frames that ended */
    bool comes; /* a message that is not whole */
    bool broken;      /* the peer was told so and nothing more is written */
    uint16_t ends;    /* not 0: code of an end asked for in on_message; it would overtake texts */
    struct span in;   /* what ws_feed was given and wslay has not read */
    struct buf *out;  /* where wslay writes, during a call */
    void (*on_message)(void *context, struct span text);
    void *context;
};

bool ws_wanted(const struct http_request *r)
{
    return http_header_lists(r, "upgrade", "websocket");
}

/* The only header of that name: RFC 6455 11.3 lets neither of ours come twice. */
static bool find_one(const struct http_request *r, const char *name, struct span *out)
{
    size_t n = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (span_is(r->headers[i].name, name)) {
            *out = r->headers[i].value;
            n++;
        }
    return n == 1;
}

/* 22 characters of base64 and "==": 16 bytes. */
static bool is_key(struct span key)
{
    for (size_t i = 0; i + 2 < key.len; i++) {
        uint8_t c = key.data[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/'))
            return false;
    }
    return key.len == 24 && memcmp(key.data + 22, "==", 2) == 0;
}

static bool offers(const struct http_request *r, const char *protocol)
{
    struct span list;
    if (!protocol || !find_one(r, "sec-websocket-protocol", &list))
        return false;
    while (list.len) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t n = comma ? (size_t)(comma - list.data) : list.len;
        if (span_is(http_trim(span_of(list.data, n)), protocol))
            return true;
        list = span_from(list, comma ? n + 1 : n);
    }
    return false;
}

enum err ws_accept(const struct http_request *r, const char *protocol, struct buf *out)
{
    static const char salt[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
    struct span key, version;
    if (!span_is(r->method, "GET") || !ws_wanted(r) ||
        !http_header_lists(r, "connection", "upgrade") || !find_one(r, "sec-websocket-key", &key) ||
        !is_key(key) || !find_one(r, "sec-websocket-version", &version))
        return ERR_BAD_REQUEST;
    if (!span_is(version, "13"))
        return ERR_UPGRADE_REQUIRED;
    uint8_t input[24 + sizeof(salt)], digest[EVP_MAX_MD_SIZE], text[64];
    unsigned digest_size;
    memcpy(input, key.data, 24);
    memcpy(input + 24, salt, sizeof(salt) - 1);
    if (EVP_Digest(input, 24 + sizeof(salt) - 1, digest, &digest_size, EVP_sha1(), NULL) != 1)
        return ERR_INTERNAL; /* this machine's OpenSSL is set up without SHA-1 */
    int n = EVP_EncodeBlock(text, digest, (int)digest_size);
    buf_text(out,
             "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
             "sec-websocket-accept: ");
    buf_put(out, text, (size_t)n);
    if (offers(r, protocol)) {
        buf_text(out, "\r\nsec-websocket-protocol: ");
        buf_text(out, protocol);
    }
    buf_text(out, "\r\n\r\n");
    return ERR_OK;
}

static ssize_t give_input(wslay_event_context_ptr event, uint8_t *data, size_t len, int flags,
                          void *context)
{
    struct ws *w = context;
    size_t n = w->in.len < len ? w->in.len : len;
    (void)flags;
    if (n == 0) {
        wslay_event_set_error(event, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(data, w->in.data, n);
    w->in = span_from(w->in, n);
    return (ssize_t)n;
}

static ssize_t take_output(wslay_event_context_ptr event, const uint8_t *data, size_t len,
                           int flags, void *context)
{
    struct ws *w = context;
    (void)event, (void)flags;
    buf_put(w->out, data, len);
    return (ssize_t)len;
}

/* Closes with that code (RFC 6455 7.4.1) and listens no more. */
static void refuse(struct ws *w, uint16_t code)
{
    int rv = wslay_event_queue_close(w->event, code, NULL, 0);
    CHECK(rv == 0 || rv == WSLAY_ERR_NO_MORE_MSG);
    wslay_event_shutdown_read(w->event);
}

static void take_frame(wslay_event_context_ptr event,
                       const struct wslay_event_on_frame_recv_start_arg *arg, void *context)
{
    struct ws *w = context;
    uint64_t len = arg->payload_length;
    (void)event;
    w->frame = 6 + (len < 126 ? 0u : len < 65536 ? 2u : 8u) + len; /* RFC 6455 5.2, masked */
    if (wslay_is_ctrl_frame(arg->opcode))
        return;
    w->comes = !arg->fin;
    w->fragments = arg->opcode == WSLAY_CONTINUATION_FRAME ? w->fragments + 1 : 1;
    if (w->fragments > FRAGMENTS_MAX)
        refuse(w, WSLAY_CODE_MESSAGE_TOO_BIG);
}

static void end_frame(wslay_event_context_ptr event, void *context)
{
    struct ws *w = context;
    (void)event;
    w->whole += w->frame;
}

static void take_message(wslay_event_context_ptr event,
                         const struct wslay_event_on_msg_recv_arg *arg, void *context)
{
    struct ws *w = context;
    if (wslay_is_ctrl_frame(arg->opcode) || !wslay_event_get_read_enabled(event))
        return;
    if (arg->opcode == WSLAY_TEXT_FRAME)
        w->on_message(w->context, span_of(arg->msg, arg->msg_length));
    else
        refuse(w, WSLAY_CODE_UNSUPPORTED_DATA);
}

static void begin(struct ws *w)
{
    struct wslay_event_callbacks callbacks = { .recv_callback = give_input,
                                               .send_callback = take_output,
                                               .on_frame_recv_start_callback = take_frame,
                                               .on_frame_recv_end_callback = end_frame,
                                               .on_msg_recv_callback = take_message };
    if (w->event)
        return;
    CHECK(wslay_event_context_server_init(&w->event, &callbacks, w) == 0);
    wslay_event_config_set_max_recv_msg_length(w->event, w->message_bytes_max);
    w->fed = w->whole = 0;
}

/* When it holds nothing. */
static void rest(struct ws *w)
{
    if (w->fed != w->whole || w->comes || !wslay_event_get_read_enabled(w->event) ||
        ws_ending(w))
        return;
    wslay_event_context_free(w->event);
    w->event = NULL;
}

struct ws *ws_open(struct alloc *alloc, const struct ws_limits *limits,
                   void (*on_message)(void *, struct span), void *context)
{
    struct ws *w = mem_zero(alloc, sizeof(*w));
    w->alloc = alloc;
    w->message_bytes_max = limits->message_bytes_max;
    w->on_message = on_message;
    w->context = context;
    return w;
}

void ws_close(struct ws *w)
{
    if (w->event)
        wslay_event_context_free(w->event);
    mem_free(w->alloc, w, sizeof(*w));
}

static void flush(struct ws *w, struct buf *out)
{
    w->out = out;
    CHECK(wslay_event_send(w->event) == 0);
    w->out = NULL;
}

/* In a message callback ws_feed flushes afterwards. */
static void queued(struct ws *w, int rv, struct buf *out)
{
    CHECK(rv == 0 || rv == WSLAY_ERR_NO_MORE_MSG);
    if (!w->out && !w->broken)
        flush(w, out);
}

static void end(struct ws *w, uint16_t code, struct buf *out)
{
    w->ends = w->out != NULL ? code : 0;
    if (w->ends)
        return;
    begin(w);
    queued(w, wslay_event_queue_close(w->event, code, NULL, 0), out);
}

enum err ws_feed(struct ws *w, struct span in, struct buf *out)
{
    static const uint8_t protocol_error[] = { 0x88, 2, 1002 >> 8, 1002 & 0xff };
    CHECK(!w->out);
    begin(w);
    w->fed += in.len;
    w->in = in;
    w->out = out;
    /* wslay answers frames that it cannot read at all with a close that has no code; RFC 6455
     * 7.4.1 has one for them, so ours is written in its place. */
    if (!w->broken && wslay_event_recv(w->event) != 0) {
        w->broken = true;
        if (!wslay_event_get_close_sent(w->event))
            buf_put(out, protocol_error, sizeof(protocol_error));
    }
    w->in = SPAN_NONE;
    w->out = NULL;
    if (!w->broken)
        flush(w, out);
    if (w->ends) {
        uint16_t code = w->ends;
        w->ends = 0;
        end(w, code, out);
    }
    bool well = wslay_event_get_read_enabled(w->event) || wslay_event_get_close_received(w->event);
    rest(w);
    return well ? ERR_OK : ERR_MESSAGE_MALFORMED;
}

/* Written here, since wslay would take two copies of it on the way. Between its calls, and in a
 * message callback, wslay has no frame half written. */
void ws_send_two(struct ws *w, struct span a, struct span b, struct buf *out)
{
    uint64_t len = a.len + b.len;
    int bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;
    struct buf *to = w->out ? w->out : out;
    if (ws_ending(w))
        return;
    buf_u8(to, 0x80 | WSLAY_TEXT_FRAME);
    buf_u8(to, (uint8_t)(bytes == 8 ? 127 : bytes == 2 ? 126 : len));
    for (int i = bytes - 1; i >= 0; i--)
        buf_u8(to, (uint8_t)(len >> (8 * i)));
    buf_span(to, a);
    buf_span(to, b);
}

void ws_send(struct ws *w, struct span text, struct buf *out)
{
    ws_send_two(w, text, SPAN_NONE, out);
}

void ws_end(struct ws *w, struct buf *out)
{
    end(w, WSLAY_CODE_NORMAL_CLOSURE, out);
}

void ws_leave(struct ws *w, struct buf *out)
{
    end(w, WSLAY_CODE_GOING_AWAY, out);
}

void ws_ping(struct ws *w, struct buf *out)
{
    static const uint8_t ping[] = { 0x80 | WSLAY_PING, 0 };
    if (!ws_ending(w))
        buf_put(w->out ? w->out : out, ping, sizeof(ping));
}

bool ws_ending(const struct ws *w)
{
    return w->broken || w->ends != 0 || (w->event && wslay_event_get_close_sent(w->event));
}

bool ws_done(const struct ws *w)
{
    if (w->broken || !w->event)
        return w->broken;
    return wslay_event_get_close_sent(w->event) && !wslay_event_get_read_enabled(w->event);
}
