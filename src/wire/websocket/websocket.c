#include "wire/websocket/websocket.h"
#include <openssl/evp.h>
#include <wslay/wslay.h>
#include "base/check.h"

struct ws {
    struct alloc *alloc;
    wslay_event_context_ptr event;
    struct span in;  /* what ws_feed was given and wslay has not read */
    struct buf *out; /* where wslay writes, during a call */
    void (*on_message)(void *context, struct span text);
    void *context;
};

static bool same_word(struct span s, const char *word)
{
    if (s.len != strlen(word))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if ((s.data[i] >= 'A' && s.data[i] <= 'Z' ? s.data[i] + 32 : s.data[i]) != word[i])
            return false;
    return true;
}

bool ws_wanted(const struct http_request *r)
{
    struct span upgrade;
    return http_header_find(r, "upgrade", &upgrade) && same_word(upgrade, "websocket");
}

/* 22 characters of base64 and "==": 16 bytes. */
static bool is_key(struct span key)
{
    uint8_t bytes[24];
    return key.len == 24 && EVP_DecodeBlock(bytes, key.data, 24) == 18 &&
           memcmp(key.data + 22, "==", 2) == 0;
}

enum err ws_accept(const struct http_request *r, struct buf *out)
{
    static const char salt[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
    struct span key, version;
    if (!span_is(r->method, "GET") || !http_header_find(r, "sec-websocket-key", &key) ||
        !is_key(key) || !http_header_find(r, "sec-websocket-version", &version) ||
        !span_is(version, "13"))
        return ERR_BAD_REQUEST;
    uint8_t input[24 + sizeof(salt)], digest[EVP_MAX_MD_SIZE], text[64];
    unsigned digest_size;
    memcpy(input, key.data, 24);
    memcpy(input + 24, salt, sizeof(salt) - 1);
    CHECK(EVP_Digest(input, 24 + sizeof(salt) - 1, digest, &digest_size, EVP_sha1(), NULL) == 1);
    int n = EVP_EncodeBlock(text, digest, (int)digest_size);
    buf_text(out,
             "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
             "sec-websocket-accept: ");
    buf_put(out, text, (size_t)n);
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

static void take_message(wslay_event_context_ptr event,
                         const struct wslay_event_on_msg_recv_arg *arg, void *context)
{
    struct ws *w = context;
    (void)event;
    if (!wslay_is_ctrl_frame(arg->opcode))
        w->on_message(w->context, span_of(arg->msg, arg->msg_length));
}

struct ws *ws_open(struct alloc *alloc, const struct ws_limits *limits,
                   void (*on_message)(void *, struct span), void *context)
{
    struct wslay_event_callbacks callbacks = { .recv_callback = give_input,
                                               .send_callback = take_output,
                                               .on_msg_recv_callback = take_message };
    struct ws *w = mem_zero(alloc, sizeof(*w));
    w->alloc = alloc;
    w->on_message = on_message;
    w->context = context;
    CHECK(wslay_event_context_server_init(&w->event, &callbacks, w) == 0);
    wslay_event_config_set_max_recv_msg_length(w->event, limits->message_bytes_max);
    return w;
}

void ws_close(struct ws *w)
{
    wslay_event_context_free(w->event);
    mem_free(w->alloc, w, sizeof(*w));
}

static void flush(struct ws *w, struct buf *out)
{
    w->out = out;
    CHECK(wslay_event_send(w->event) == 0);
    w->out = NULL;
}

enum err ws_feed(struct ws *w, struct span in, struct buf *out)
{
    w->in = in;
    w->out = out;
    int rv = wslay_event_recv(w->event);
    flush(w, out);
    /* After a close frame wslay reads no more: the rest is not ours to understand. */
    return rv == 0 && !(wslay_event_get_read_enabled(w->event) && w->in.len)
               ? ERR_OK
               : ERR_MESSAGE_MALFORMED;
}

void ws_send(struct ws *w, struct span text, struct buf *out)
{
    struct wslay_event_msg message = { WSLAY_TEXT_FRAME, text.data, text.len };
    int rv = wslay_event_queue_msg(w->event, &message);
    CHECK(rv == 0 || rv == WSLAY_ERR_NO_MORE_MSG);
    /* In a message callback ws_feed flushes afterwards. */
    if (!w->out)
        flush(w, out);
}

void ws_end(struct ws *w, struct buf *out)
{
    int rv = wslay_event_queue_close(w->event, 1000, NULL, 0);
    CHECK(rv == 0 || rv == WSLAY_ERR_NO_MORE_MSG);
    if (!w->out)
        flush(w, out);
}

bool ws_done(const struct ws *w)
{
    return wslay_event_get_close_sent(w->event) &&
           (wslay_event_get_close_received(w->event) || !wslay_event_get_read_enabled(w->event));
}
