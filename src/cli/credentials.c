/* Who we say we are: a password from where it does not show. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "cli/cli_int.h"

enum { PASSWORD_MAX = 1024 };

/* The line without its end; false: too long, nothing came, or it ended with an interrupt. */
static bool take_line(FILE *f, int interrupt, struct buf *out)
{
    int c;
    buf_reset(out);
    while ((c = getc(f)) != EOF && c != '\n' && out->len <= PASSWORD_MAX) {
        if (c == interrupt)
            return false;
        buf_u8(out, (uint8_t)c);
    }
    if (out->len && out->data[out->len - 1] == '\r')
        out->len--;
    return out->len <= PASSWORD_MAX && (c == '\n' || out->len);
}

static int from_file(const char *file, struct buf *out)
{
    bool input = strcmp(file, "-") == 0;
    FILE *f = input ? stdin : fopen(file, "r");
    if (!f)
        return cli_complain(EXIT_USAGE, "%s: the password cannot be read", file);
    bool ok = take_line(f, EOF, out);
    if (!input)
        fclose(f);
    return ok ? EXIT_DONE
              : cli_complain(EXIT_USAGE, "%s: there is no password in its first line", file);
}

static bool ask(FILE *terminal, const char *prompt, struct buf *out)
{
    struct termios before, quiet;
    if (tcgetattr(fileno(terminal), &before) != 0)
        return false;
    quiet = before;
    /* An interrupt ends the line instead of us: the terminal would stay without echo. */
    cc_t interrupt = before.c_cc[VINTR];
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    quiet.c_cc[VEOL] = interrupt;
    if (tcsetattr(fileno(terminal), TCSAFLUSH, &quiet) != 0)
        return false;
    fprintf(terminal, "%s: ", prompt); /* only now: what is typed from here on does not show */
    bool ok = take_line(terminal, interrupt, out);
    tcsetattr(fileno(terminal), TCSAFLUSH, &before);
    fputc('\n', terminal);
    return ok;
}

static int from_terminal(const char *prompt, bool twice, struct buf *out)
{
    struct buf again;
    FILE *terminal = fopen("/dev/tty", "r+");
    if (!terminal)
        return cli_complain(EXIT_USAGE, "there is no terminal to ask for a password; give a file "
                                        "that has it");
    setbuf(terminal, NULL);
    buf_open(&again, &cli_heap);
    bool ok = ask(terminal, prompt, out) && (!twice || ask(terminal, "the same again", &again));
    bool same = !twice || span_equal(buf_all(out), buf_all(&again));
    if (again.data)
        explicit_bzero(again.data, again.cap);
    buf_close(&again);
    fclose(terminal);
    if (!ok)
        return cli_complain(EXIT_USAGE, "there is no password");
    return same ? EXIT_DONE : cli_complain(EXIT_USAGE, "the two passwords are not the same");
}

int credentials_password(const char *file, const char *prompt, bool twice, struct buf *out)
{
    return file ? from_file(file, out) : from_terminal(prompt, twice, out);
}

int credentials_read(const struct options *o, struct span *user, struct span *password)
{
    static struct buf read; /* once, though connections may break and come again */
    static const char *read_for;
    char prompt[300];
    *user = *password = SPAN_NONE;
    if (!o->user)
        return EXIT_DONE;
    const char *colon = strchr(o->user, ':');
    *user = colon ? span_of(o->user, (size_t)(colon - o->user)) : span_text(o->user);
    if (colon && !o->password_file) {
        *password = span_text(colon + 1);
        return EXIT_DONE;
    }
    if (!read_for || strcmp(read_for, o->user) != 0) {
        if (!read.alloc)
            buf_open(&read, &cli_heap);
        snprintf(prompt, sizeof(prompt), "password of %.200s", o->user);
        int status = credentials_password(o->password_file, prompt, false, &read);
        if (status != EXIT_DONE)
            return status;
        read_for = o->user;
    }
    *password = buf_all(&read);
    return EXIT_DONE;
}
