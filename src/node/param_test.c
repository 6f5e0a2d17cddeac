#include "node/param.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/test.h"

enum { WORDS_MAX = 8 };

static struct params p;
static char why[PARAM_WHY_MAX];

/* Words of a command line, cut at blanks. */
static enum err read_words(const char *line)
{
    char copy[512], *words[WORDS_MAX], *rest = copy;
    int n = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word; (word = strsep(&rest, " ")) != NULL;)
        if (*word && n < WORDS_MAX)
            words[n++] = word;
    why[0] = 0;
    return param_read(&p, n, words, why);
}

/* The same with --config-file, holding that text, before the line. */
static enum err read_with_file(const char *text, const char *line)
{
    char path[] = "/tmp/confman-param-XXXXXX", words[256];
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!file)
        return ERR_IO;
    fputs(text, file);
    fclose(file);
    snprintf(words, sizeof(words), "--config-file %s %s", path, line);
    enum err e = read_words(words);
    unlink(path);
    return e;
}

static bool refused(enum err e, const char *text)
{
    return e == ERR_BAD_REQUEST && strstr(why, text) != NULL && !strchr(why, '\n');
}

TEST(param_defaults_and_flags)
{
    EXPECT(read_words("") == ERR_OK);
    EXPECT(strcmp(p.listen, "127.0.0.1:2379") == 0 && !p.allow_insecure_listen);
    EXPECT(p.request_bytes_max == 1572864 && p.config_file[0] == 0);
    EXPECT(read_words("--listen=[::1]:1 --request-bytes-max 2048 --allow-insecure-listen") ==
           ERR_OK);
    EXPECT(strcmp(p.listen, "[::1]:1") == 0 && p.request_bytes_max == 2048);
    EXPECT(p.allow_insecure_listen);
    EXPECT(read_words("--allow-insecure-listen=false --name= --name x") == ERR_OK);
    EXPECT(!p.allow_insecure_listen && strcmp(p.name, "x") == 0); /* the last one said */
}

TEST(param_flags_that_are_refused)
{
    static const struct {
        const char *line, *why;
    } table[] = {
        { "listen", "\"listen\" is not a parameter" },
        { "--", "is not a parameter" },
        { "-listen x", "is not a parameter" },
        { "--listne x", "unknown parameter --listne; did you mean --listen?" },
        { "--qqqqqqqqqqqqqqqqqqqqqqqqqq x", "see confman server --help" },
        { "--=x", "unknown parameter" },
        { "--listen", "--listen needs a value (address,...)" },
        { "--request-bytes-max=", "must be a number from 1024 to 67108864" },
        { "--request-bytes-max 1023", "not \"1023\"" },
        { "--request-bytes-max 67108865", "must be a number" },
        { "--request-bytes-max 2k", "must be a number" },
        { "--request-bytes-max 99999999999999999999", "must be a number" },
        { "--allow-insecure-listen=yes", "must be true or false, not \"yes\"" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        EXPECT(refused(read_words(table[i].line), table[i].why));
    static char word[PARAM_TEXT_MAX + 16];
    memset(word, 'x', sizeof(word) - 1);
    memcpy(word, "--name=", 7);
    char *argv[] = { word };
    EXPECT(refused(param_read(&p, 1, argv, why), "name is longer than 4095 bytes"));
    word[PARAM_TEXT_MAX + 6] = 0;
    EXPECT(param_read(&p, 1, argv, why) == ERR_OK && strlen(p.name) == PARAM_TEXT_MAX - 1);
}

/* Defaults, then the file, then the environment, then flags. */
TEST(param_the_stronger_source_counts)
{
    static const char file[] = "# where\nname: file\nrequest-bytes-max: 4096\n"
                               "allow-insecure-listen: true\nlog-level: 'warn'\n";
    EXPECT(read_with_file(file, "") == ERR_OK && strcmp(p.name, "file") == 0);
    EXPECT(p.request_bytes_max == 4096 && p.allow_insecure_listen);
    EXPECT(strcmp(p.log_level, "warn") == 0 && strcmp(p.data_dir, "data") == 0);
    setenv("CONFMAN_NAME", "variable", 1);
    setenv("CONFMAN_REQUEST_BYTES_MAX", "8192", 1);
    bool environment = read_with_file(file, "") == ERR_OK && strcmp(p.name, "variable") == 0;
    bool flags = read_with_file(file, "--name flag") == ERR_OK && strcmp(p.name, "flag") == 0 &&
                 p.request_bytes_max == 8192;
    setenv("CONFMAN_REQUEST_BYTES_MAX", "much", 1);
    bool wrong = refused(read_words(""), "CONFMAN_REQUEST_BYTES_MAX: request-bytes-max must be");
    unsetenv("CONFMAN_NAME");
    unsetenv("CONFMAN_REQUEST_BYTES_MAX");
    EXPECT(environment && flags && wrong);
}

TEST(param_files)
{
    static const struct {
        const char *text, *why; /* NULL: it is taken */
    } table[] = {
        { "", NULL },
        { "# nothing\n", NULL },
        { "---\nname: a\n", NULL },
        { "{name: a, listen: b}", NULL },
        { "name: \"\"\n", NULL },
        { "nmae: a\n", ":1: unknown parameter nmae; did you mean name?" },
        { "name: a\n\nrequest-bytes-max: x\n", ":3: request-bytes-max must be a number" },
        { "allow-insecure-listen: yes\n", ":1: allow-insecure-listen must be true or false" },
        { "name: [a, b]\n", "only \"name: value\" lines" },
        { "name: {a: b}\n", "only \"name: value\" lines" },
        { "- name\n", "only \"name: value\" lines" },
        { "name\n", "only \"name: value\" lines" },
        { "name: &x a\nlisten: *x\n", "only \"name: value\" lines" },
        { "name: a\n\tlisten: b\n", "not valid YAML" },
        { "name: 'a\n", "not valid YAML" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        enum err e = read_with_file(table[i].text, "");
        EXPECT(table[i].why ? refused(e, table[i].why) : e == ERR_OK);
    }
    EXPECT(refused(read_words("--config-file /no/such/file"), "config-file /no/such/file: "));
}
